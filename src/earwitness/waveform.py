"""The one form in which sound travels through the library, and the arithmetic on it.

A waveform is a one-dimensional float32 array: mono, 16 kHz, full scale at +-1.0.
Nothing here reads files (`media`) or prepares sound for the network (`canonical`).
"""

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000

# Below this a level is reported as this: -120 dBFS is under the quantisation noise of 16-bit sound.
SILENCE_DBFS = -120.0

Samples: TypeAlias = NDArray[np.float32]
"""Mono sound, shape (samples,), float32, 16 kHz, nominally within +-1.0."""


def rms_dbfs(samples: Samples) -> float:
    """Level in dB relative to a full-scale square wave; `SILENCE_DBFS` for silence or no samples."""
    if samples.size == 0:
        return SILENCE_DBFS
    mean_square = float(np.mean(np.square(samples, dtype=np.float64)))
    if mean_square <= 0.0:
        return SILENCE_DBFS
    return max(SILENCE_DBFS, 10.0 * math.log10(mean_square))


def db_to_gain(db: float) -> float:
    return float(10.0 ** (db / 20.0))


def seconds(count: int) -> float:
    """Duration of `count` samples."""
    return count / SAMPLE_RATE_HZ


def sample_count(duration_s: float) -> int:
    """Samples in `duration_s`, rounded to the nearest."""
    return round(duration_s * SAMPLE_RATE_HZ)
