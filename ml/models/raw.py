"""Residual convolutions on the waveform itself, as RawNet2 has them (Tak et al., 2021), filters of its own throughout.

The first layer learns its filters; every stage then divides the rate, until one frame score stands for 160 ms.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ml.models.heads import AttentiveHead, Member, SpoofNetwork

FIRST_KERNEL = 129  # samples, 8 ms: as long as the sinc filters of RawNet2


@dataclass(frozen=True, slots=True)
class RawConfig:
    filters: int = 64
    first_stride: int = 10
    channels: tuple[int, ...] = (64, 96, 128, 128)
    strides: tuple[int, ...] = (4, 4, 4, 4)
    embedding: int = 128
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.strides) or not self.channels:
            raise ValueError("channels and strides need one entry a stage each")
        if min(self.first_stride, *self.strides) < 1:
            raise ValueError("strides must be at least 1")


def build(config: RawConfig) -> SpoofNetwork:
    head = AttentiveHead(config.channels[-1], config.embedding, config.dropout)
    return SpoofNetwork(Member(LearnedFilters(config), Backbone(config), head))


def frame_hop_samples(config: RawConfig) -> int:
    """Samples from one frame score to the next."""
    return config.first_stride * math.prod(config.strides)


class LearnedFilters(nn.Module):
    """(batch, samples) to (batch, 1, filters, samples / first_stride), in the place of a spectrogram."""

    def __init__(self, config: RawConfig) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(
            1, config.filters, FIRST_KERNEL, config.first_stride, FIRST_KERNEL // 2, bias=False
        )
        self.normalise = nn.BatchNorm1d(config.filters)

    def forward(self, waveforms: Tensor) -> Tensor:
        filtered: Tensor = self.normalise(self.convolution(waveforms.unsqueeze(1)).abs())
        return filtered.unsqueeze(1)


class Backbone(nn.Module):
    def __init__(self, config: RawConfig) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        width = config.filters
        for out, stride in zip(config.channels, config.strides, strict=True):
            stages += [ResidualBlock(width, out), nn.AvgPool1d(stride)]
            width = out
        self.stages = nn.Sequential(*stages)

    def forward(self, filtered: Tensor) -> Tensor:
        features: Tensor = self.stages(filtered.squeeze(1))
        return features


class ResidualBlock(nn.Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(width, out, 3, padding=1, bias=False),
            nn.BatchNorm1d(out),
            nn.LeakyReLU(0.3),
            nn.Conv1d(out, out, 3, padding=1, bias=False),
            nn.BatchNorm1d(out),
        )
        self.shortcut = nn.Identity() if width == out else nn.Conv1d(width, out, 1, bias=False)
        self.scale = nn.Conv1d(out, out, 1)  # of each filter map, by its mean over time, as in RawNet2

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.body(x) + self.shortcut(x))
        weight = torch.sigmoid(self.scale(y.mean(-1, keepdim=True)))
        scaled: Tensor = y * weight + weight
        return scaled
