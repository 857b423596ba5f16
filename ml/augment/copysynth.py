"""Copy-synthesis: natural speech taken apart and put together again by a vocoder, aligned to its source.

    spoof = copy_synthesise(bonafide, rng, "griffin_lim")

What comes back says the same words in the same voice at the same times, and is synthetic: the pair differs in
nothing but the vocoder. The caller changes the label.
"""

from collections.abc import Callable
from types import MappingProxyType

import numpy as np

from earwitness.waveform import Samples, sample_count
from ml.augment.griffin_lim import griffin_lim_copy, natural_phase_copy
from ml.augment.harmonic import harmonic_copy
from ml.augment.lpc import lpc_copy
from ml.augment.spectrum import TINY_RMS, fit_length, match_rms, rms
from ml.augment.world import world_copy

SHORTEST_S = 0.1  # two periods of the deepest voice, several times over: less has no pitch to find

METHODS: MappingProxyType[str, Callable[[Samples, np.random.Generator], Samples]] = MappingProxyType(
    {
        "griffin_lim": griffin_lim_copy,
        "natural_phase": natural_phase_copy,
        "world": world_copy,
        "lpc": lpc_copy,
        "harmonic": harmonic_copy,
    }
)


def copy_synthesise(samples: Samples, rng: np.random.Generator, method: str) -> Samples:
    """Re-synthesise `samples` by one of `METHODS`: same length and level, parameters drawn from `rng`.

    Silence comes back as it is. Raises ValueError for an unknown method or a clip shorter than `SHORTEST_S`.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; there are {', '.join(METHODS)}")
    if samples.ndim != 1 or samples.size < sample_count(SHORTEST_S):
        raise ValueError(f"copy-synthesis needs one channel of at least {SHORTEST_S} s, not shape {samples.shape}")
    level = rms(samples)
    if level < TINY_RMS:
        return samples.copy()
    copied = fit_length(METHODS[method](samples, rng), samples.size)
    return match_rms(copied, level).astype(np.float32, copy=False)
