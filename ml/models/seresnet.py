"""SE-ResNet on a log spectrogram: residual blocks (He et al., 2016) with squeeze-and-excitation (Hu et al., 2018).

Time is halved by the stem (`time_stride`) and by each stage but the first: with four stages one frame score stands for
16 spectrogram frames, 160 ms. The stem's stride over frequency sets the size of every map, and so the cost.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn

from ml.config import ConfigError
from ml.models.frontend import FrontendConfig, LogSpectrogram
from ml.models.heads import (
    AttentiveHead,
    FrequencyPool,
    FrequencyRows,
    LocalFrames,
    Member,
    Scores,
    SpoofNetwork,
    frame_scorer,
    halved,
)

OWN_CHANNELS, OWN_WIDTH = (16, 32, 48, 64), 64
"""Of the small network for frame scores: as large as the default detector's limits of size and cost let it be."""
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
    """Where frame scores come from: `last`, the last stage; `local`, the stages before it too (`heads.LocalFrames`);
    `own`, a small network of their own beside it (`OwnFrames`); `none`: another of several members has them."""
    embedding: int = 128
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.blocks) or not self.channels:
            raise ValueError("channels and blocks need one entry a stage each")
        if self.pool not in ("mean_max", "rows"):
            raise ValueError(f"pool must be mean_max or rows, not {self.pool!r}")
        if self.frames not in ("last", "local", "own", "none"):
            raise ValueError(f"frames must be last, local, own or none, not {self.frames!r}")
        if self.frames == "local" and len(self.channels) < 2:  # the last, and one before it
            raise ValueError("local frames need a stage before the last")
        if self.frames == "own" and not 2 <= len(self.channels) <= len(OWN_CHANNELS) + 1:
            raise ValueError(f"own frames need 2 to {len(OWN_CHANNELS) + 1} stages, which halve time as often")
        if self.stem_stride < 1 or self.time_stride < 1:
            raise ValueError("stem_stride and time_stride must be at least 1")


def build(config: SeResNetConfig) -> SpoofNetwork:
    if config.frames == "none":
        raise ConfigError('model.frames = "none" is for a member of several: no other gives frame scores here')
    return SpoofNetwork(member(config))


def member(config: SeResNetConfig) -> Member:
    framed = config.frames in ("last", "local")
    head = AttentiveHead(config.channels[-1], config.embedding, config.dropout, frames=framed)
    frontend, backbone = LogSpectrogram(config.frontend), Backbone(config)
    if config.frames == "local":
        return LocalMember(frontend, backbone, head)
    if config.frames == "own":
        return PlacedMember(config, frontend, backbone, head)
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


class OwnFrames(nn.Module):
    """(batch, frames) logits out of a spectrogram and what the last two stages say of it, as often as the last one has
    a frame. Their mean is 0: whether a clip is synthetic is its score's to say, and only where is theirs.

    Residual blocks without squeeze-and-excitation, which would tell each frame what the whole clip is like, halve time
    up to the half of that. Beside what they say stands what the stages do, which know more of synthesis; then each
    frame is compared with all others, by attention (Vaswani et al., 2017), and with their mean: what is set in differs
    from what it is set into.
    """

    def __init__(self, config: SeResNetConfig, stages: Sequence[tuple[int, int]]) -> None:
        """`stages`: channels and rows of frequency of each stage's map."""
        super().__init__()
        self.stem = _stem(config, OWN_CHANNELS[0])
        blocks, rows = [], -(-config.frontend.bins // config.stem_stride)
        for number, (before, out) in enumerate(pairwise(OWN_CHANNELS), 1):
            time = 2 if number < len(stages) - 1 else 1  # the last halving is in `forward`
            blocks.append(ResidualBlock(before, out, (2, time), gated=False))
            rows = -(-rows // 2)
        self.blocks = nn.Sequential(*blocks)
        self.mix = FrequencyRows(OWN_CHANNELS[-1], rows, OWN_WIDTH)
        self.mix_stage = FrequencyRows(*stages[-2], OWN_WIDTH // 2)
        heard = 2 * (OWN_WIDTH + OWN_WIDTH // 2) + stages[-1][0]
        self.narrow = nn.Sequential(
            nn.Conv1d(heard, OWN_WIDTH, 1, bias=False), nn.BatchNorm1d(OWN_WIDTH), nn.ReLU()
        )
        self.query, self.key, self.value = (nn.Conv1d(OWN_WIDTH, OWN_WIDTH, 1) for _ in range(3))
        self.score = frame_scorer(3 * OWN_WIDTH, OWN_WIDTH)

    def forward(self, spectrogram: Tensor, stage: Tensor, last: Tensor) -> Tensor:
        """`stage`: the map of the last stage but one; `last`: that of the last, pooled over frequency."""
        own = self.mix(self.blocks(self.stem(spectrogram)))
        mixed = self.mix_stage(stage)
        frames = self.narrow(torch.cat([*halved(own, own), *halved(mixed, mixed), last], dim=1))
        alike = torch.matmul(self.query(frames).transpose(1, 2), self.key(frames)) / math.sqrt(OWN_WIDTH)
        others = torch.matmul(self.value(frames), torch.softmax(alike, dim=-1).transpose(1, 2))
        scores: Tensor = self.score(torch.cat([frames, frames - frames.mean(-1, keepdim=True), others], dim=1))
        return (scores - scores.mean(-1, keepdim=True)).squeeze(1)


class PlacedMember(Member):
    """Frame scores come from a small network of their own, which is told what the last stages say."""

    backbone: "Backbone"

    def __init__(
        self, config: SeResNetConfig, frontend: nn.Module, backbone: "Backbone", head: AttentiveHead
    ) -> None:
        super().__init__(frontend, backbone, head)
        self.own = OwnFrames(config, backbone.shapes)

    def judge(self, spectrogram: Tensor) -> Scores:
        maps = self.backbone.maps(spectrogram)
        last = self.backbone.pool(maps[-1])
        scores: Scores = self.head(last)
        return scores._replace(frame_scores=self.own(spectrogram, maps[-2], last))

    def frame_parts(self) -> list[nn.Module]:
        return [self.own]


def _stem(config: SeResNetConfig, width: int) -> nn.Sequential:
    stride, padding = (config.stem_stride, config.time_stride), (STEM[0] // 2, STEM[1] // 2)
    return nn.Sequential(nn.Conv2d(1, width, STEM, stride, padding, bias=False), nn.BatchNorm2d(width), nn.ReLU())


class Backbone(nn.Module):
    def __init__(self, config: SeResNetConfig) -> None:
        super().__init__()
        width = config.channels[0]
        layers: list[nn.Module] = [*_stem(config, width)]
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
    def __init__(self, width: int, out: int, stride: int | tuple[int, int], *, gated: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out),
            *([SqueezeExcite(out)] if gated else []),
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
