"""Background noise at a stated signal-to-noise ratio: recorded, coloured, or babble of several voices.

SNR is the ratio of the mean powers over the whole clip, in dB.
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from earwitness.waveform import SAMPLE_RATE_HZ, Samples, db_to_gain
from ml.augment.assets import NoiseBank
from ml.augment.draws import Range, uniform, whole
from ml.augment.spectrum import TINY_RMS, match_rms, rms, stretch_of

COLOUR_FLOOR_HZ = 20.0  # power that grows towards 0 Hz is held constant below this


@dataclass(frozen=True, slots=True)
class RecordedNoiseConfig:
    probability: float = 0.25
    snr_db: Range = (3.0, 25.0)


@dataclass(frozen=True, slots=True)
class ColouredNoiseConfig:
    probability: float = 0.15
    snr_db: Range = (8.0, 35.0)
    slope: Range = (-1.0, 2.0)
    """Power falls as 1 / f^slope: -1 is blue, 0 white, 1 pink, 2 brown."""


@dataclass(frozen=True, slots=True)
class BabbleConfig:
    probability: float = 0.05
    snr_db: Range = (8.0, 25.0)
    voices: tuple[int, int] = (3, 7)


def mix_at_snr(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """`samples` plus `noise` (same length), scaled so that the ratio of their powers is `snr_db`.

    Silence is returned as it is: it has no ratio to anything.
    """
    level = rms(samples)
    if level < TINY_RMS:
        return samples
    return samples + match_rms(noise, level / db_to_gain(snr_db))


def add_recorded_noise(
    samples: Samples, rng: np.random.Generator, config: RecordedNoiseConfig, bank: NoiseBank
) -> Samples:
    """A random stretch of a random recording; without recordings nothing is added."""
    if not bank.noises:
        return samples
    noise = stretch_of(bank.noises[int(rng.integers(len(bank.noises)))], samples.size, rng)
    return mix_at_snr(samples, noise, uniform(rng, config.snr_db))


def coloured_noise(length: int, slope: float, rng: np.random.Generator) -> Samples:
    """Gaussian noise whose power falls as 1 / f^slope, unit rms."""
    padded = int(fft.next_fast_len(max(length, 2), real=True))
    spectrum = fft.rfft(rng.standard_normal(padded, dtype=np.float32))
    frequency_hz = np.maximum(np.fft.rfftfreq(padded, 1 / SAMPLE_RATE_HZ), COLOUR_FLOOR_HZ).astype(np.float32)
    spectrum *= (frequency_hz / np.float32(1_000.0)) ** np.float32(-slope / 2)
    spectrum[0] = 0.0
    noise: Samples = fft.irfft(spectrum, padded)[:length].astype(np.float32)
    return match_rms(noise, 1.0)


def add_coloured_noise(samples: Samples, rng: np.random.Generator, config: ColouredNoiseConfig) -> Samples:
    noise = coloured_noise(samples.size, uniform(rng, config.slope), rng)
    return mix_at_snr(samples, noise, uniform(rng, config.snr_db))


def add_babble(samples: Samples, rng: np.random.Generator, config: BabbleConfig, bank: NoiseBank) -> Samples:
    """Several voices at once, each at the same level; without voices nothing is added."""
    if not bank.voices:
        return samples
    babble = np.zeros(samples.size, dtype=np.float32)
    for _ in range(whole(rng, config.voices)):
        voice = bank.voices[int(rng.integers(len(bank.voices)))]
        babble += match_rms(stretch_of(voice, samples.size, rng), 1.0)
    return mix_at_snr(samples, babble, uniform(rng, config.snr_db))
