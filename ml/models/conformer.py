"""A small conformer on a log spectrogram: attention over time beside convolution (Gulati et al., 2020).

The stem halves time twice, so one frame score stands for four spectrogram frames, 40 ms. There is no position code: the
depthwise convolutions tell neighbours apart, and where in a clip a mark lies must not matter.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.frontend import FrontendConfig, LogSpectrogram
from ml.models.heads import AttentiveHead, Member, SpoofNetwork

STEM_STRIDE = 4  # over time; and over frequency in the first of the two convolutions


@dataclass(frozen=True, slots=True)
class ConformerConfig:
    frontend: FrontendConfig = field(default_factory=FrontendConfig)
    stem_channels: int = 24
    width: int = 96
    heads: int = 4
    blocks: int = 3
    kernel: int = 15
    """Of the depthwise convolution, in frames of 40 ms."""
    embedding: int = 128
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError("width must be a multiple of heads")
        if self.kernel % 2 == 0:
            raise ValueError("kernel must be odd")


def build(config: ConformerConfig) -> SpoofNetwork:
    head = AttentiveHead(config.width, config.embedding, config.dropout)
    return SpoofNetwork(Member(LogSpectrogram(config.frontend), Backbone(config), head))


def frame_hop_samples(config: ConformerConfig) -> int:
    """Samples from one frame score to the next."""
    return int(config.frontend.hop * STEM_STRIDE)


class Backbone(nn.Module):
    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        wide = config.stem_channels
        self.stem = nn.Sequential(
            nn.Conv2d(1, wide, (9, 5), (STEM_STRIDE, 2), (4, 2), bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            nn.Conv2d(wide, wide, 3, 2, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
        )
        rows = math.ceil(math.ceil(config.frontend.bins / STEM_STRIDE) / 2)
        self.project = nn.Linear(wide * rows, config.width)
        self.blocks = nn.Sequential(*(ConformerBlock(config) for _ in range(config.blocks)))

    def forward(self, spectrogram: Tensor) -> Tensor:
        maps = self.stem(spectrogram).flatten(1, 2).transpose(1, 2)
        features: Tensor = self.blocks(self.project(maps)).transpose(1, 2)
        return features


class ConformerBlock(nn.Module):
    """(batch, frames, width) to the same: half a feed-forward, attention, convolution, half a feed-forward."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.first, self.last = _feed_forward(config), _feed_forward(config)
        self.attention = SelfAttention(config.width, config.heads)
        self.convolution = DepthwiseConvolution(config.width, config.kernel)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.5 * self.first(x)
        x = x + self.attention(x)
        x = x + self.convolution(x)
        normed: Tensor = self.norm(x + 0.5 * self.last(x))
        return normed


class SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.into = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.into(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class DepthwiseConvolution(nn.Module):
    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Conv1d(width, 2 * width, 1)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width, bias=False)
        self.batch_norm = nn.BatchNorm1d(width)
        self.out = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.gate(self.norm(x).transpose(1, 2)).chunk(2, dim=1)
        convolved = self.batch_norm(self.depthwise(value * torch.sigmoid(gate)))
        out: Tensor = self.out(F.silu(convolved)).transpose(1, 2)
        return out


def _feed_forward(config: ConformerConfig) -> nn.Sequential:
    width = config.width
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, 4 * width),
        nn.SiLU(),
        nn.Dropout(config.dropout),
        nn.Linear(4 * width, width),
    )
