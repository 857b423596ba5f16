"""SE-ResNet on a log spectrogram: residual blocks (He et al., 2016) with squeeze-and-excitation (Hu et al., 2018).

Time is halved by the stem (`time_stride`) and by each stage but the first: with four stages one frame score stands for
16 spectrogram frames, 160 ms. The stem's stride over frequency sets the size of every map, and so the cost.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ml.models.frontend import FrontendConfig, LogSpectrogram
from ml.models.heads import AttentiveHead, FrequencyPool, FrequencyRows, LocalFrames, Member, Scores, SpoofNetwork

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
    frames: str = "last"
    """Where frame scores come from: `last`, the last stage; `local`, the stages before it too (`heads.LocalFrames`)."""
    embedding: int = 128
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.blocks) or not self.channels:
            raise ValueError("channels and blocks need one entry a stage each")
        if self.pool not in ("mean_max", "rows"):
            raise ValueError(f"pool must be mean_max or rows, not {self.pool!r}")
        if self.frames not in ("last", "local"):
            raise ValueError(f"frames must be last or local, not {self.frames!r}")
        if self.frames == "local" and len(self.channels) < 2:  # the last, and one before it
            raise ValueError("local frames need a stage before the last")
        if self.stem_stride < 1 or self.time_stride < 1:
            raise ValueError("stem_stride and time_stride must be at least 1")


def build(config: SeResNetConfig) -> SpoofNetwork:
    return SpoofNetwork(member(config))


def member(config: SeResNetConfig) -> Member:
    head = AttentiveHead(config.channels[-1], config.embedding, config.dropout)
    frontend, backbone = LogSpectrogram(config.frontend), Backbone(config)
    if config.frames == "local":
        return LocalMember(frontend, backbone, head)
    return Member(frontend, backbone, head)


def frame_hop_samples(config: SeResNetConfig) -> int:
    """Samples from one frame score to the next."""
    return int(config.frontend.hop * config.time_stride * 2 ** (len(config.channels) - 1))


class LocalMember(Member):
    """Adds what the stages before the last say of each frame to what the last one says."""

    backbone: "Backbone"

    def __init__(self, frontend: nn.Module, backbone: "Backbone", head: AttentiveHead) -> None:
        super().__init__(frontend, backbone, head)
        self.local = LocalFrames(backbone.shapes[:-1])

    def judge(self, spectrogram: Tensor) -> Scores:
        maps = self.backbone.maps(spectrogram)
        scores: Scores = self.head(self.backbone.pool(maps[-1]))
        assert scores.frame_scores is not None
        return scores._replace(frame_scores=scores.frame_scores + self.local(maps[:-1]))

    def frame_parts(self) -> list[nn.Module]:
        return [*super().frame_parts(), self.local]


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
        rows = -(-config.frontend.bins // config.stem_stride)
        self.shapes: list[tuple[int, int]] = []
        """Channels and rows of frequency of each stage's map."""
        self.ends: list[int] = []
        """How many layers there are up to the end of each stage."""
        for stage, (out, count) in enumerate(zip(config.channels, config.blocks, strict=True)):
            for block in range(count):
                layers.append(ResidualBlock(width, out, stride=2 if stage > 0 and block == 0 else 1))
                width = out
            rows = rows if stage == 0 else -(-rows // 2)
            self.shapes.append((out, rows))
            self.ends.append(len(layers))
        self.layers = nn.Sequential(*layers)
        self.pool = FrequencyRows(width, rows, width) if config.pool == "rows" else FrequencyPool(width, width)

    def forward(self, spectrogram: Tensor) -> Tensor:
        pooled: Tensor = self.pool(self.layers(spectrogram))
        return pooled

    def maps(self, spectrogram: Tensor) -> list[Tensor]:
        """(batch, channels, rows, frames) of each stage; a stage has half as many frames as the one before, rounded
        up."""
        found = []
        begin, features = 0, spectrogram
        for end in self.ends:
            features = self.layers[begin:end](features)
            found.append(features)
            begin = end
        return found


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
