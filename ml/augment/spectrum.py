"""Arithmetic that several augmentations share: filters in the frequency domain, lengths, levels."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from earwitness.waveform import SAMPLE_RATE_HZ, Samples

FILTER_TAIL_SAMPLES = 800  # 50 ms of zeros behind the clip: the filters below must not wrap around
TINY_RMS = 1e-6  # -120 dBFS: below it there is no level to speak of

Response = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Gain as a function of frequency in Hz."""


def filter_by_response(samples: Samples, response: Response) -> Samples:
    """Apply a real gain over frequency: zero phase, so nothing moves in time."""
    length = int(fft.next_fast_len(samples.size + FILTER_TAIL_SAMPLES, real=True))
    frequency_hz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ).astype(np.float32)
    spectrum = fft.rfft(samples, length) * response(frequency_hz)
    filtered: Samples = fft.irfft(spectrum, length)[: samples.size].astype(np.float32)
    return filtered


def band_edges(
    frequency_hz: NDArray[np.float32], low_hz: float, high_hz: float, width_hz: float
) -> NDArray[np.float32]:
    """Gain 1 between `low_hz` and `high_hz`, 0 outside, with raised-cosine edges `width_hz` wide."""
    rising = np.clip((frequency_hz - low_hz) / width_hz + 0.5, 0.0, 1.0)
    falling = np.clip((high_hz - frequency_hz) / width_hz + 0.5, 0.0, 1.0)
    gain: NDArray[np.float32] = (np.sin(0.5 * np.pi * np.minimum(rising, falling)) ** 2).astype(np.float32)
    return gain


def rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0


def match_rms(samples: Samples, target: float) -> Samples:
    """`samples` scaled to the level `target` (linear rms); silence stays silence."""
    level = rms(samples)
    if level < TINY_RMS:
        return samples
    return samples * np.float32(target / level)


def fit_length(samples: Samples, length: int) -> Samples:
    """Cut at the end, or padded there with zeros."""
    if samples.size >= length:
        return samples[:length]
    return np.pad(samples, (0, length - samples.size))


def stretch_of(samples: Samples, length: int, rng: np.random.Generator) -> Samples:
    """A stretch of `length` samples from a random place; a shorter clip is repeated."""
    if samples.size < length:
        samples = np.tile(samples, -(-length // samples.size) + 1)
    start = int(rng.integers(0, samples.size - length, endpoint=True))
    return samples[start : start + length]
