"""What may have happened to a recording before it reaches the examiner: the conditions that figures are given for.

    worse = CONDITIONS["opus_16k"](samples, rng)

One explicit table. Each condition is applied to the whole clip, through the same codecs, noises and rooms as the
augmentation, but at one stated strength.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from earwitness.waveform import Samples, sample_count
from ml.augment.codecs import CODECS, round_trip
from ml.augment.noise import coloured_noise, mix_at_snr
from ml.augment.rooms import reverberate, synthetic_response
from ml.evaluation.scores import CLEAN

Degrade = Callable[[Samples, np.random.Generator], Samples]

NOISE_SNR_DB = 10.0
PINK = 1.0
ROOM_RT60_S = 0.6
ROOM_DIRECT_TO_REVERBERANT_DB = 3.0  # about 1.5 m from the speaker in a living room
SHORT_S = 1.5


def _codec(name: str, bit_rate: int) -> Degrade:
    return lambda samples, _: round_trip(samples, CODECS[name], bit_rate)


def _extreme(samples: Samples, _: np.random.Generator) -> Samples:
    """Telephone speech at its lowest rate, uploaded again as a very small MP3."""
    return round_trip(round_trip(samples, CODECS["amr_nb"], 4_750), CODECS["mp3"], 16_000)


def _noise(samples: Samples, rng: np.random.Generator) -> Samples:
    return mix_at_snr(samples, coloured_noise(samples.size, PINK, rng), NOISE_SNR_DB)


def _room(samples: Samples, rng: np.random.Generator) -> Samples:
    return reverberate(samples, synthetic_response(ROOM_RT60_S, ROOM_DIRECT_TO_REVERBERANT_DB, rng))


def _short(samples: Samples, rng: np.random.Generator) -> Samples:
    length = min(samples.size, sample_count(SHORT_S))
    start = int(rng.integers(samples.size - length + 1))
    return samples[start : start + length]


CONDITIONS: Mapping[str, Degrade] = MappingProxyType(
    {
        CLEAN: lambda samples, _: samples,
        "opus_16k": _codec("opus", 16_000),
        "mp3_32k": _codec("mp3", 32_000),
        "aac_32k": _codec("aac", 32_000),
        "amr_nb": _codec("amr_nb", 12_200),
        "g711": _codec("mu_law", 64_000),
        "noise_10db": _noise,
        "room_0.6s": _room,
        "short_1.5s": _short,
    }
)
"""The conditions of the goal table, and `clean`: the recording as it lies on disk."""

EXTREME_CONDITION = "amr_4.75k+mp3_16k"
EXTREME: Degrade = _extreme
"""Not in the goal table: worse than what anybody sends, and the detector must be less sure there."""
