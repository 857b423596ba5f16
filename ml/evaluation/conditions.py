"""What may have happened to a recording before it reaches the examiner: the conditions that figures are given for.

    worse = CONDITIONS["opus_16k"](samples, rng)

One explicit table. Each condition is applied to the whole clip, through the same codecs, noises and rooms as the
augmentation, but at one stated strength.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from earwitness.waveform import SAMPLE_RATE_HZ, Samples, db_to_gain, sample_count
from ml.augment.codecs import CODECS, round_trip
from ml.augment.noise import coloured_noise, mix_at_snr
from ml.augment.resample import resample
from ml.augment.rooms import reverberate, synthetic_response
from ml.augment.spectrum import band_edges, filter_by_response
from ml.evaluation.scores import CLEAN

Degrade = Callable[[Samples, np.random.Generator], Samples]

NOISE_SNR_DB = 10.0
PINK = 1.0
ROOM_RT60_S = 0.6
ROOM_DIRECT_TO_REVERBERANT_DB = 3.0  # about 1.5 m from the speaker in a living room
SHORT_S = 1.5
EDGE_BELOW_LOUDEST_DB = 30.0  # an edge is trimmed up to the first frame of 10 ms that is this near to the loudest
EDGE_FRAME = 160
QUIETER_DB = -20.0
RESAMPLED_HZ = 22_050  # there and back: the rate that half of the published synthesis was made at
BAND_LOW_HZ, BAND_HIGH_HZ, BAND_EDGE_HZ = 100.0, 5_000.0, 200.0


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

GOAL_CONDITIONS = tuple(name for name in CONDITIONS if name != CLEAN)
"""The goal is about the worst of these; no other condition enters it."""


def _trim_edges(samples: Samples, _: np.random.Generator) -> Samples:
    """Without the quiet before the first and after the last loud frame."""
    frames = samples[: samples.size // EDGE_FRAME * EDGE_FRAME].reshape(-1, EDGE_FRAME)
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    if not power.size or power.max() == 0.0:
        return samples
    loud = np.flatnonzero(power >= power.max() * db_to_gain(-EDGE_BELOW_LOUDEST_DB) ** 2)
    return samples[loud[0] * EDGE_FRAME : (loud[-1] + 1) * EDGE_FRAME]


def _resampled(samples: Samples, _: np.random.Generator) -> Samples:
    there = resample(samples, SAMPLE_RATE_HZ, RESAMPLED_HZ)
    return resample(there, RESAMPLED_HZ, SAMPLE_RATE_HZ)[: samples.size]


def _band_cut(samples: Samples, _: np.random.Generator) -> Samples:
    return filter_by_response(samples, lambda hz: band_edges(hz, BAND_LOW_HZ, BAND_HIGH_HZ, BAND_EDGE_HZ))


ROBUSTNESS: Mapping[str, Degrade] = MappingProxyType(
    {
        "edges_trimmed": _trim_edges,
        "quieter_20db": lambda samples, _: samples * np.float32(db_to_gain(QUIETER_DB)),
        "reencoded_mp3_64k": _codec("mp3", 64_000),
        "resampled_22k": _resampled,
        "band_0.1-5khz": _band_cut,
    }
)
"""Changes that leave the speech as it is: a verdict that flips under them was about the recording chain."""

EXTREME_CONDITION = "amr_4.75k+mp3_16k"
EXTREME: Degrade = _extreme
"""Not in the goal table: worse than what anybody sends, and the detector must be less sure there."""

ALL_CONDITIONS: Mapping[str, Degrade] = MappingProxyType({**CONDITIONS, **ROBUSTNESS, EXTREME_CONDITION: EXTREME})
