"""The line between microphone and file: level, tilt, clipping, saturation, telephone band, lost packets."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.waveform import SAMPLE_RATE_HZ, Samples, db_to_gain, sample_count
from ml.augment.draws import Range, chance, uniform
from ml.augment.resample import resample
from ml.augment.spectrum import band_edges, filter_by_response, match_rms, rms

TILT_PIVOT_HZ = 1_000.0
TILT_FLOOR_HZ = 50.0
PHONE_EDGE_HZ = 100.0


@dataclass(frozen=True, slots=True)
class GainConfig:
    probability: float = 0.5
    gain_db: Range = (-12.0, 6.0)


@dataclass(frozen=True, slots=True)
class TiltConfig:
    probability: float = 0.2
    tilt_db_per_octave: Range = (-2.5, 2.5)


@dataclass(frozen=True, slots=True)
class ClippingConfig:
    probability: float = 0.1
    clipped_share: Range = (0.0005, 0.02)
    """Part of the samples that is cut off: mild, as of a microphone held too near."""


@dataclass(frozen=True, slots=True)
class SaturationConfig:
    probability: float = 0.1
    drive: Range = (0.5, 3.0)
    """The peak meets tanh at this argument: 0.5 is nearly linear, 3 flattens loud vowels."""


@dataclass(frozen=True, slots=True)
class PhoneBandConfig:
    """300-3400 Hz; handsets differ by some 50 Hz."""

    probability: float = 0.08
    low_hz: Range = (250.0, 350.0)
    high_hz: Range = (3_350.0, 3_450.0)


@dataclass(frozen=True, slots=True)
class BandLimitConfig:
    probability: float = 0.12
    rates_hz: tuple[int, ...] = (8_000, 11_025, 12_000)


@dataclass(frozen=True, slots=True)
class PacketLossConfig:
    probability: float = 0.06
    packet_ms: tuple[float, ...] = (10.0, 20.0, 40.0)
    loss: Range = (0.01, 0.12)
    """Part of the packets that is lost."""
    burst: Range = (1.0, 3.0)
    """Mean length of a run of lost packets."""
    repeat_share: float = 0.5
    """How often the last packet is repeated, fading, in place of silence."""


def apply_gain(samples: Samples, rng: np.random.Generator, config: GainConfig) -> Samples:
    return samples * np.float32(db_to_gain(uniform(rng, config.gain_db)))


def apply_tilt(samples: Samples, rng: np.random.Generator, config: TiltConfig) -> Samples:
    """Tilt the spectrum about 1 kHz by some dB an octave; the level is kept."""
    return tilt(samples, uniform(rng, config.tilt_db_per_octave))


def tilt(samples: Samples, db_per_octave: float) -> Samples:
    def response(frequency_hz: NDArray[np.float32]) -> NDArray[np.float32]:
        octaves = np.log2(np.maximum(frequency_hz, TILT_FLOOR_HZ) / np.float32(TILT_PIVOT_HZ))
        gain: NDArray[np.float32] = np.float32(10.0) ** (octaves * np.float32(db_per_octave / 20.0))
        return gain

    return match_rms(filter_by_response(samples, response), rms(samples))


def clip_peaks(samples: Samples, rng: np.random.Generator, config: ClippingConfig) -> Samples:
    """Cut off the loudest samples."""
    share = uniform(rng, config.clipped_share)
    rank = samples.size - 1 - int(share * samples.size)
    ceiling = np.partition(np.abs(samples), rank)[rank]
    return np.clip(samples, -ceiling, ceiling)


def saturate(samples: Samples, rng: np.random.Generator, config: SaturationConfig) -> Samples:
    """A soft knee (tanh) as of an overdriven amplifier; the level is kept."""
    drive = uniform(rng, config.drive)
    peak = float(np.abs(samples).max())
    if peak == 0.0:
        return samples
    return match_rms(np.tanh(samples * np.float32(drive / peak)), rms(samples))


def phone_band(samples: Samples, rng: np.random.Generator, config: PhoneBandConfig) -> Samples:
    """Keep what a telephone line keeps, zero phase."""
    low, high = uniform(rng, config.low_hz), uniform(rng, config.high_hz)
    return filter_by_response(samples, lambda frequency_hz: band_edges(frequency_hz, low, high, PHONE_EDGE_HZ))


def limit_band(samples: Samples, rng: np.random.Generator, config: BandLimitConfig) -> Samples:
    """Through a lower sampling rate and back: the band's top goes, the timing stays."""
    rate_hz = config.rates_hz[int(rng.integers(len(config.rates_hz)))]
    return resample(resample(samples, SAMPLE_RATE_HZ, rate_hz), rate_hz, SAMPLE_RATE_HZ)[: samples.size]


def lose_packets(samples: Samples, rng: np.random.Generator, config: PacketLossConfig) -> Samples:
    """Lose packets in bursts (two-state Gilbert model); in their place silence, or the last packet, fading."""
    size = sample_count(config.packet_ms[int(rng.integers(len(config.packet_ms)))] / 1_000.0)
    loss = uniform(rng, config.loss)
    end_of_burst = 1.0 / uniform(rng, config.burst)
    start_of_burst = loss * end_of_burst / (1.0 - loss)
    repeat = chance(rng, config.repeat_share)
    received = samples.copy()
    draws = rng.random(-(-samples.size // size))
    lost = False
    fade = np.float32(1.0)
    for index, draw in enumerate(draws):
        lost = bool(draw >= end_of_burst) if lost else bool(draw < start_of_burst)
        start = index * size
        if not lost:
            fade = np.float32(1.0)
            continue
        here = received[start : start + size]
        if repeat and index > 0:
            fade *= np.float32(0.7)  # -3 dB a packet: what decoders do before they fall silent
            here[:] = fade * received[start - size : start - size + here.size]
        else:
            here[:] = 0.0
    return received
