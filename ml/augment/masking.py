"""Masking on the waveform: short stretches or narrow bands are taken out, so that no one place decides."""

from dataclasses import dataclass

import numpy as np

from earwitness.waveform import Samples, sample_count
from ml.augment.draws import Range, log_uniform, uniform, whole
from ml.augment.spectrum import band_edges, filter_by_response

FADE_S = 0.002  # a hard edge would be a click, and a click is a feature
BAND_EDGE_HZ = 50.0


@dataclass(frozen=True, slots=True)
class TimeMaskConfig:
    probability: float = 0.1
    stretches: tuple[int, int] = (1, 3)
    stretch_s: Range = (0.02, 0.2)
    largest_share: float = 0.3
    """All stretches together take at most this part of the clip."""


@dataclass(frozen=True, slots=True)
class FrequencyMaskConfig:
    probability: float = 0.1
    bands: tuple[int, int] = (1, 2)
    centre_hz: Range = (200.0, 7_500.0)
    width_hz: Range = (150.0, 1_500.0)


def mask_time(samples: Samples, rng: np.random.Generator, config: TimeMaskConfig) -> Samples:
    """Silence random stretches, with short fades inside them."""
    masked = samples.copy()
    budget = int(config.largest_share * samples.size)
    for _ in range(whole(rng, config.stretches)):
        size = min(sample_count(uniform(rng, config.stretch_s)), budget)
        start = int(rng.integers(0, samples.size - size, endpoint=True))
        budget -= size
        fade = min(sample_count(FADE_S), size // 2)
        ramp = np.linspace(1.0, 0.0, fade, dtype=np.float32)
        gain = np.concatenate((ramp, np.zeros(size - 2 * fade, dtype=np.float32), ramp[::-1]))
        masked[start : start + size] *= gain
    return masked


def mask_bands(samples: Samples, rng: np.random.Generator, config: FrequencyMaskConfig) -> Samples:
    """Take random bands out with band-stop filters of zero phase."""
    for _ in range(whole(rng, config.bands)):
        centre_hz, width_hz = log_uniform(rng, config.centre_hz), log_uniform(rng, config.width_hz)
        samples = stop_band(samples, centre_hz - width_hz / 2, centre_hz + width_hz / 2)
    return samples


def stop_band(samples: Samples, low_hz: float, high_hz: float) -> Samples:
    return filter_by_response(
        samples, lambda frequency_hz: np.float32(1.0) - band_edges(frequency_hz, low_hz, high_hz, BAND_EDGE_HZ)
    )
