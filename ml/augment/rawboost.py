"""RawBoost (Tak et al., 2022, "RawBoost: A raw data boosting and augmentation method applied to automatic speaker
verification anti-spoofing"), written from the paper's description: disturbances of telephony that need no data.

1. Linear and non-linear convolutive noise: the signal and its powers, each through its own random notch filters,
   the higher powers weaker, added up.
2. Impulsive signal-dependent noise: at a random share of the samples, a random part of the sample itself is added.
3. Stationary signal-independent noise: white noise through random notch filters at a drawn SNR.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.waveform import Samples, db_to_gain
from ml.augment.draws import Range, chance, uniform, whole
from ml.augment.noise import mix_at_snr
from ml.augment.spectrum import TINY_RMS, filter_by_response, match_rms, rms

NOTCH_FLOOR = 0.02  # -34 dB: a notch of an FIR filter is deep, not bottomless


@dataclass(frozen=True, slots=True)
class RawBoostConfig:
    """The three parts are drawn independently; the ranges are near the paper's, milder at the ends."""

    probability: float = 0.15
    convolutive_share: float = 0.6
    impulsive_share: float = 0.4
    stationary_share: float = 0.4
    notches: tuple[int, int] = (1, 5)
    notch_centre_hz: Range = (20.0, 8_000.0)
    notch_width_hz: Range = (100.0, 1_000.0)
    highest_power: int = 5
    power_gain_db: Range = (-20.0, -5.0)
    """Gain of each higher power relative to the one below it."""
    impulsive_samples: Range = (0.0, 0.1)
    """Part of the samples that is disturbed."""
    impulsive_gain: float = 2.0
    """Largest disturbance, as a multiple of the sample."""
    snr_db: Range = (10.0, 40.0)


def rawboost(samples: Samples, rng: np.random.Generator, config: RawBoostConfig) -> Samples:
    """Any of the three parts, in series, in the paper's order; the level is kept."""
    level = rms(samples)
    if level < TINY_RMS:
        return samples
    if chance(rng, config.convolutive_share):
        samples = convolutive_noise(samples, rng, config)
    if chance(rng, config.impulsive_share):
        samples = impulsive_noise(samples, rng, config)
    if chance(rng, config.stationary_share):
        noise = notch_filtered(rng.standard_normal(samples.size, dtype=np.float32), rng, config)
        samples = mix_at_snr(samples, noise, uniform(rng, config.snr_db))
    return match_rms(samples, level)


def convolutive_noise(samples: Samples, rng: np.random.Generator, config: RawBoostConfig) -> Samples:
    peak = np.float32(np.abs(samples).max())
    scaled = samples / peak
    power = scaled
    total = np.zeros_like(samples)
    gain = 1.0
    for exponent in range(1, config.highest_power + 1):
        if exponent > 1:
            power = power * scaled
            gain *= db_to_gain(uniform(rng, config.power_gain_db))
        total += np.float32(gain) * notch_filtered(power, rng, config)
    total -= total.mean()  # even powers shift the zero line
    return total * peak


def impulsive_noise(samples: Samples, rng: np.random.Generator, config: RawBoostConfig) -> Samples:
    count = int(uniform(rng, config.impulsive_samples) * samples.size)
    places = rng.choice(samples.size, count, replace=False, shuffle=False)
    # The product of two uniform numbers in -1..1, as in the paper: many small disturbances, few large ones.
    strength = rng.uniform(-1.0, 1.0, count) * rng.uniform(-1.0, 1.0, count) * config.impulsive_gain
    disturbed = samples.copy()
    disturbed[places] += disturbed[places] * strength.astype(np.float32)
    return disturbed


def notch_filtered(samples: Samples, rng: np.random.Generator, config: RawBoostConfig) -> Samples:
    """Through several notches of random place and width."""
    notches = [
        (uniform(rng, config.notch_centre_hz), uniform(rng, config.notch_width_hz))
        for _ in range(whole(rng, config.notches))
    ]

    def response(frequency_hz: NDArray[np.float32]) -> NDArray[np.float32]:
        gain = np.ones_like(frequency_hz)
        for centre_hz, width_hz in notches:
            near = (frequency_hz - np.float32(centre_hz)) / np.float32(width_hz / 2)
            gain *= np.maximum(np.float32(NOTCH_FLOOR), np.float32(1.0) - np.exp(-np.square(near)))
        return gain

    return filter_by_response(samples, response)
