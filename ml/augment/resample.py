"""From one sampling rate to another with zero phase: sample k of the input is at time k / from_hz of the output too."""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from earwitness.waveform import Samples

ZERO_CROSSINGS = 10  # of the windowed sinc, on either side
KAISER_BETA = 5.0  # SciPy's choice too: about 50 dB down in the stop band


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """`samples` at another rate; ceil(length * to_hz / from_hz) samples."""
    if from_hz == to_hz:
        return samples
    common = math.gcd(from_hz, to_hz)
    up, down = to_hz // common, from_hz // common
    resampled: Samples = signal.resample_poly(samples, up, down, window=_low_pass(max(up, down)))
    return resampled.astype(np.float32, copy=False)


@lru_cache(maxsize=32)
def _low_pass(factor: int) -> NDArray[np.float32]:
    """Designed once for each factor: at 441 the design takes longer than filtering three seconds."""
    taps = signal.firwin(2 * ZERO_CROSSINGS * factor + 1, 1.0 / factor, window=("kaiser", KAISER_BETA))
    coefficients: NDArray[np.float32] = taps.astype(np.float32)
    coefficients.setflags(write=False)
    return coefficients
