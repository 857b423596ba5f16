"""Rooms: convolution with a measured or a synthetic impulse response, the direct sound kept where it was.

A synthetic response is the direct path followed by Gaussian noise under an exponential decay that falls by 60 dB
in RT60 (Moorer, 1979, "About this reverberation business"), with a drawn direct-to-reverberant ratio.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import signal

from earwitness.waveform import SAMPLE_RATE_HZ, Samples, db_to_gain, sample_count
from ml.augment.assets import NoiseBank
from ml.augment.draws import Range, chance, uniform
from ml.augment.spectrum import match_rms, rms

DECAY_OF_RT60 = math.log(1_000.0)  # 60 dB in amplitude
FIRST_REFLECTION_S = 0.002  # 0.7 m of detour: nothing arrives sooner after the direct sound
LONGEST_RESPONSE_S = 1.0  # what comes later is below -60 dB in every room drawn here


@dataclass(frozen=True, slots=True)
class RoomConfig:
    probability: float = 0.2
    measured_share: float = 0.4
    """How often a measured response is taken, where the bank has any."""
    rt60_s: Range = (0.1, 0.9)
    direct_to_reverberant_db: Range = (-3.0, 15.0)


def synthetic_response(rt60_s: float, direct_to_reverberant_db: float, rng: np.random.Generator) -> Samples:
    """An impulse response whose first sample is the direct path, with amplitude 1."""
    length = max(sample_count(min(rt60_s, LONGEST_RESPONSE_S)), sample_count(FIRST_REFLECTION_S) + 1)
    time_s = np.arange(length, dtype=np.float32) / np.float32(SAMPLE_RATE_HZ)
    tail = rng.standard_normal(length, dtype=np.float32) * np.exp(np.float32(-DECAY_OF_RT60 / rt60_s) * time_s)
    tail[: sample_count(FIRST_REFLECTION_S)] = 0.0
    energy = float(np.sqrt(np.sum(np.square(tail))))
    tail *= np.float32(1.0 / (energy * db_to_gain(direct_to_reverberant_db)))
    tail[0] = 1.0
    response: Samples = tail.astype(np.float32, copy=False)
    return response


def from_direct_path(response: Samples) -> Samples:
    """A measured response cut so that it starts at its direct path, the strongest sample."""
    onset = int(np.argmax(np.abs(response)))
    return response[onset : onset + sample_count(LONGEST_RESPONSE_S)]


def reverberate(samples: Samples, response: Samples) -> Samples:
    """Convolve, keep the length and the level."""
    wet: Samples = signal.oaconvolve(samples, response)[: samples.size].astype(np.float32)
    return match_rms(wet, rms(samples))


def place_in_room(samples: Samples, rng: np.random.Generator, config: RoomConfig, bank: NoiseBank) -> Samples:
    if chance(rng, config.measured_share) and bank.rooms:
        response = from_direct_path(bank.rooms[int(rng.integers(len(bank.rooms)))])
    else:
        response = synthetic_response(
            uniform(rng, config.rt60_s), uniform(rng, config.direct_to_reverberant_db), rng
        )
    return reverberate(samples, response)
