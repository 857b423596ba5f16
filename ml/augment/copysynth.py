"""Copy-synthesis: natural speech taken apart and put together again by a vocoder, aligned to its source.

    spoof = copy_synthesise(bonafide, rng, "griffin_lim")

What comes back says the same words in the same voice at the same times, and is synthetic: the pair differs in
nothing but the vocoder. The caller changes the label.
"""

from collections.abc import Callable
from types import MappingProxyType

import numpy as np

from earwitness.waveform import Samples
from ml.augment.griffin_lim import griffin_lim_copy
from ml.augment.spectrum import TINY_RMS, fit_length, match_rms, rms

METHODS: MappingProxyType[str, Callable[[Samples, np.random.Generator], Samples]] = MappingProxyType(
    {"griffin_lim": griffin_lim_copy}
)


def copy_synthesise(samples: Samples, rng: np.random.Generator, method: str) -> Samples:
    """Re-synthesise `samples` by one of `METHODS`: same length and level, parameters drawn from `rng`.

    Silence comes back as it is. Raises ValueError for an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; there are {', '.join(METHODS)}")
    level = rms(samples)
    if level < TINY_RMS:
        return samples.copy()
    copied = fit_length(METHODS[method](samples, rng), samples.size)
    return match_rms(copied, level).astype(np.float32, copy=False)
