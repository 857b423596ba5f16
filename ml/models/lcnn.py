"""LCNN on a log spectrogram: convolutions with max-feature-map activations (Lavrentyeva et al., 2019)."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ml.models.frontend import FrontendConfig, LogSpectrogram
from ml.models.heads import AttentiveHead, FrequencyPool, Member, SpoofNetwork


@dataclass(frozen=True, slots=True)
class LcnnConfig:
    frontend: FrontendConfig = field(default_factory=FrontendConfig)
    channels: tuple[int, ...] = (16, 32, 48, 64)
    """After each stage; each stage halves time and frequency."""
    embedding: int = 64
    dropout: float = 0.3


def build(config: LcnnConfig) -> SpoofNetwork:
    last = config.channels[-1]
    return SpoofNetwork(
        Member(
            LogSpectrogram(config.frontend),
            Backbone(config),
            AttentiveHead(last, config.embedding, config.dropout),
        )
    )


def frame_hop_samples(config: LcnnConfig) -> int:
    """Samples from one frame score to the next."""
    return int(config.frontend.hop * 2 ** len(config.channels))


class Backbone(nn.Module):
    def __init__(self, config: LcnnConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 1
        for stage, out in enumerate(config.channels):
            kernel = 5 if stage == 0 else 3
            layers += [
                MaxFeatureMap(width, out, kernel, stride=2),
                MaxFeatureMap(out, out, 1),
                nn.BatchNorm2d(out),
                MaxFeatureMap(out, out, 3),
                nn.BatchNorm2d(out),
            ]
            width = out
        self.layers = nn.Sequential(*layers)
        self.pool = FrequencyPool(width, width)

    def forward(self, spectrogram: Tensor) -> Tensor:
        pooled: Tensor = self.pool(self.layers(spectrogram))
        return pooled


class MaxFeatureMap(nn.Module):
    """A convolution of which the larger of two maps survives at each point."""

    def __init__(self, width: int, out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, 2 * out, kernel, stride, kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.convolution(x).chunk(2, dim=1)
        return torch.maximum(first, second)
