"""Settings of the neural vocoders: part of an experiment, and so of every checkpoint made with them."""

import math
from dataclasses import dataclass

from ml.published import PublishedWeights

KINDS = ("spectral", "upsampling", "codec", "hifigan")


@dataclass(frozen=True, slots=True)
class VocoderConfig:
    name: str
    kind: str
    strides: tuple[int, ...]
    """Of the upsampling layers; their product is the hop in samples (for `spectral`, one number: the hop itself)."""
    channels: int = 128
    """Of the widest layer."""
    mels: int = 80
    mel_high_hz: float = 8_000.0
    levels: int = 9
    """Of each number of a code (`codec`)."""
    code: int = 10
    """Numbers a code."""
    weights: PublishedWeights | None = None
    """Of a vocoder that others trained (`hifigan`); the other kinds are trained here."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if not self.strides or min(self.strides) < 2:
            raise ValueError("strides must be 2 or more")
        if (self.kind == "hifigan") != (self.weights is not None):
            raise ValueError("hifigan takes published weights, and no other kind does")
        if self.kind == "spectral" and len(self.strides) != 1:
            raise ValueError("spectral takes one stride: the hop")
        if self.kind != "spectral" and self.channels % 2 ** len(self.strides):
            raise ValueError("channels must be halved by every stride")
        if self.levels < 3 or self.levels % 2 == 0:
            raise ValueError("levels must be odd, 3 or more")

    @property
    def hop(self) -> int:
        return math.prod(self.strides)


@dataclass(frozen=True, slots=True)
class VocoderTraining:
    seed: int = 1
    steps: int = 1_500
    batch_size: int = 10
    crop_s: float = 0.64
    learning_rate: float = 1e-3
    critic_from: float = 0.4
    """Share of the steps after which the critic joins."""
    critic_weight: float = 0.3
    threads: int = 1
