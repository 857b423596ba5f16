"""SE-ResNet on a log spectrogram: residual blocks (He et al., 2016) with squeeze-and-excitation (Hu et al., 2018).

Time is halved by the stem (`time_stride`) and by each stage but the first: with four stages one frame score stands for
16 spectrogram frames, 160 ms. The stem's stride over frequency sets the size of every map, and so the cost.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ml.models.frontend import FrontendConfig, LogSpectrogram
from ml.models.heads import AttentiveHead, FrequencyPool, FrequencyRows, Member, SpoofNetwork

STEM = (9, 5)  # bins by frames, about 280 Hz by 65 ms: wider than a harmonic, shorter than a phone


@dataclass(frozen=True, slots=True)
class SeResNetConfig:
    frontend: FrontendConfig = field(default_factory=FrontendConfig)
    channels: tuple[int, ...] = (16, 32, 64, 128)
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    stem_stride: int = 4
    """Spectrogram bins per row of the first map."""
    time_stride: int = 2
    """Spectrogram frames per column of the first map."""
    pool: str = "mean_max"
    """Over frequency, before the head: `mean_max`, or `rows`, which keeps the position (`heads.FrequencyRows`)."""
    embedding: int = 128
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.blocks) or not self.channels:
            raise ValueError("channels and blocks need one entry a stage each")
        if self.pool not in ("mean_max", "rows"):
            raise ValueError(f"pool must be mean_max or rows, not {self.pool!r}")
        if self.stem_stride < 1 or self.time_stride < 1:
            raise ValueError("stem_stride and time_stride must be at least 1")


def build(config: SeResNetConfig) -> SpoofNetwork:
    return SpoofNetwork(member(config))


def member(config: SeResNetConfig) -> Member:
    last = config.channels[-1]
    return Member(
        LogSpectrogram(config.frontend), Backbone(config), AttentiveHead(last, config.embedding, config.dropout)
    )


def frame_hop_samples(config: SeResNetConfig) -> int:
    """Samples from one frame score to the next."""
    return int(config.frontend.hop * config.time_stride * 2 ** (len(config.channels) - 1))


class Backbone(nn.Module):
    def __init__(self, config: SeResNetConfig) -> None:
        super().__init__()
        width = config.channels[0]
        layers: list[nn.Module] = [
            nn.Conv2d(
                1, width, STEM, (config.stem_stride, config.time_stride), (STEM[0] // 2, STEM[1] // 2), bias=False
            ),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        for stage, (out, count) in enumerate(zip(config.channels, config.blocks, strict=True)):
            for block in range(count):
                layers.append(ResidualBlock(width, out, stride=2 if stage > 0 and block == 0 else 1))
                width = out
        self.layers = nn.Sequential(*layers)
        rows = -(-config.frontend.bins // config.stem_stride)
        for _ in config.channels[1:]:
            rows = -(-rows // 2)
        self.pool = FrequencyRows(width, rows, width) if config.pool == "rows" else FrequencyPool(width, width)

    def forward(self, spectrogram: Tensor) -> Tensor:
        pooled: Tensor = self.pool(self.layers(spectrogram))
        return pooled


class ResidualBlock(nn.Module):
    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out),
            SqueezeExcite(out),
        )
        plain = width == out and stride == 1
        self.shortcut = (
            nn.Identity()
            if plain
            else nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        hidden = max(4, channels // reduction)
        self.gate = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        gated: Tensor = x * self.gate(x.mean((2, 3), keepdim=True))
        return gated
