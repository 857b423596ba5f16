"""Random bit-rate reduction: fewer bits a sample, or one codec twice at a falling rate, as upload services do."""

from dataclasses import dataclass

import numpy as np

from earwitness.waveform import Samples
from ml.augment.codecs import CODECS, round_trip
from ml.augment.draws import chance, whole


@dataclass(frozen=True, slots=True)
class BitRateConfig:
    probability: float = 0.05
    requantise_share: float = 0.5
    """How often bits a sample are taken away; else a codec is run twice."""
    bits: tuple[int, int] = (6, 12)
    """Bits a sample that remain, relative to the clip's peak."""
    codecs: tuple[str, ...] = ("opus", "mp3", "aac")

    def __post_init__(self) -> None:
        if unusable := [name for name in self.codecs if name not in CODECS or len(CODECS[name].bit_rates) < 2]:
            raise ValueError(f"codecs without two bit rates: {', '.join(unusable)}")


def reduce_bit_rate(samples: Samples, rng: np.random.Generator, config: BitRateConfig) -> Samples:
    if chance(rng, config.requantise_share):
        return requantise(samples, whole(rng, config.bits))
    codec = CODECS[config.codecs[int(rng.integers(len(config.codecs)))]]
    lower, higher = sorted(rng.choice(len(codec.bit_rates), 2, replace=False))
    return round_trip(round_trip(samples, codec, codec.bit_rates[higher]), codec, codec.bit_rates[lower])


def requantise(samples: Samples, bits: int) -> Samples:
    """Round to 2^bits steps between minus and plus the peak, without dither, as cheap recorders do."""
    peak = np.float32(np.abs(samples).max(initial=0.0))
    if peak == 0.0:
        return samples
    steps = np.float32(2 ** (bits - 1))
    return (np.round(samples / peak * steps) / steps * peak).astype(np.float32, copy=False)
