"""The canonical view: what the network is trained on is by construction what it is given.

One window of sound in, the same window out without the three things that tell recordings apart but not
speech from synthesis: DC and rumble below the band, the level, and the top of the band, where resamplers
and codecs leave their own edges. `ml` trains on the output of `canonicalise` and nothing else.

    view = canonicalise(window)
    view.samples        # float32, same shape, -26 dBFS, 60 Hz - 7.6 kHz
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from earwitness.waveform import SAMPLE_RATE_HZ, Samples, db_to_gain, rms_dbfs

CANONICAL_VERSION = 1
"""Part of the model spec: a network trained on another view is refused."""

BAND_LOW_HZ = 60.0
BAND_HIGH_HZ = 7_600.0
EDGE_WIDTH_HZ = 40.0  # raised-cosine edges: no ringing longer than about 1 / 40 Hz = 25 ms
TARGET_LEVEL_DBFS = -26.0  # active-speech level of ITU-T P.56 practice; leaves 26 dB for peaks
MAX_GAIN_DB = 60.0  # digital silence must stay silent, and -86 dBFS is no speech
PAD_SAMPLES = int(SAMPLE_RATE_HZ / EDGE_WIDTH_HZ)  # the filter must not wrap around


@dataclass(frozen=True, slots=True)
class CanonicalView:
    samples: Samples
    """Shape and rate of the input, float32."""
    gain_db: float
    """What was applied to reach `TARGET_LEVEL_DBFS`; at most `MAX_GAIN_DB`."""


def canonicalise(samples: Samples) -> CanonicalView:
    """Remove DC, limit the band, set the level.

    The band filter has zero phase and is applied in the frequency domain over the whole window.
    Deterministic: equal input gives equal output on one machine. Silence comes back as silence.

    Raises ValueError for an array that is not one-dimensional, is empty or holds NaN or infinity.
    """
    if samples.ndim != 1 or samples.size == 0:
        raise ValueError(f"a window must be one-dimensional and not empty, not of shape {samples.shape}")
    if not np.isfinite(samples).all():
        raise ValueError("a window must hold finite samples; the decoder should have refused this one")
    padded_length = _fast_length(samples.size + PAD_SAMPLES)
    spectrum = np.fft.rfft(samples.astype(np.float32, copy=False), padded_length)
    spectrum *= _band_mask(padded_length)
    limited = np.fft.irfft(spectrum, padded_length)[: samples.size].astype(np.float32)
    gain_db = min(TARGET_LEVEL_DBFS - rms_dbfs(limited), MAX_GAIN_DB)
    return CanonicalView(limited * np.float32(db_to_gain(gain_db)), gain_db)


@lru_cache(maxsize=64)
def _band_mask(length: int) -> NDArray[np.float32]:
    frequency_hz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ)
    rising = np.clip((frequency_hz - BAND_LOW_HZ) / EDGE_WIDTH_HZ + 0.5, 0.0, 1.0)
    falling = np.clip((BAND_HIGH_HZ - frequency_hz) / EDGE_WIDTH_HZ + 0.5, 0.0, 1.0)
    mask: NDArray[np.float32] = (np.sin(0.5 * np.pi * np.minimum(rising, falling)) ** 2).astype(np.float32)
    mask.setflags(write=False)
    return mask


@lru_cache(maxsize=1024)
def _fast_length(minimum: int) -> int:
    """Smallest 2^a 3^b 5^c that is even and not below `minimum`: lengths that the FFT does quickly."""
    best = 1 << (minimum - 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            candidate = three * 2
            while candidate < minimum:
                candidate *= 2
            best = min(best, candidate)
            three *= 3
        five *= 5
    return best
