"""The encoder of a speech recogniser under heads of our own: its layers know speech, they learn what is wrong with it.

A few hours of recordings teach a network made from nothing only so much. Whisper (Radford et al., 2023, ICML) heard
680,000 hours; whose weights these are, and where they come from, is `ml.models.encoders`. `ml.training.borrowed` trains
the head of the whole clip on layers that stay as they are; where `ml.training` goes on, they move at a lower rate than
the rest (`train.borrowed_rate`). One frame of the encoder stands for 20 ms, one frame score for 160 ms.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.waveform import SAMPLE_RATE_HZ
from ml.config import ConfigError
from ml.models.encoders import BORROWED, HEARD_FRAMES, MELS, BorrowedEncoder, whole_encoder
from ml.models.frontend import FrontendConfig, PowerSpectrum, slaney_filters
from ml.models.heads import Member, Scores, SpoofNetwork, frame_scorer
from ml.models.whole_numbers import WholeAttention, WholeConv1d, WholeLinear, WholeNorm, gelu, nearest_float

FFT, HOP, TOP_HZ = 400, 160, 8_000.0  # the recogniser's own spectrogram
SINE_POWER = (FFT / 4) ** 2  # of one at full scale in the recogniser's spectrogram; 1 in ours
STATISTICS, LONGEST_Z = 3, 5.0  # of a channel; a statistic further out than so many deviations says nothing more
RANGE = 8.0  # powers of ten below the loudest, where the spectrogram ends
POWER_FLOOR, VARIANCE_FLOOR = 1e-10, 1e-7  # silence stays finite
FRAMES_A_SCORE = 8  # of 20 ms, one frame score stands for


@dataclass(frozen=True, slots=True)
class RecogniserConfig:
    encoder: str = "tiny"
    """A name of `ml.models.encoders.BORROWED`."""
    blocks: int = 4
    """The first ones of the encoder; the others are left out."""
    hidden: int = 0
    """Neurons between the two layers of a block; 0: all. Where there are fewer than the encoder has,
    `ml.training.borrowed` keeps those that say most (`ml.models.pruning`); else it is those that weigh most."""
    heads: int = 0
    """Heads of attention in a block; 0: all. Which ones stay is decided in the same way."""
    channels: int = 0
    """Of the first convolution, likewise."""
    step: int = 1
    """Every so many frames of 20 ms one enters the blocks: 1, 2 or 4. Neighbours say much the same, and each costs as
    much."""
    last_step: int = 1
    """Of the frames that enter the last block every so many one is asked for. It attends to all, and says of those what
    it would say of them otherwise; what it says is heard as its mean and spread over the clip."""
    whole: bool = False
    """The encoder multiplies whole numbers of 8 bits (`ml.models.whole_numbers`); its weights then stay as they are."""
    margin: int = 200
    """Samples left out at either end; 200 gives frames as an `ensemble`'s other members have them."""
    embedding: int = 128
    dropout: float = 0.5
    """Of the head: before each of its two layers."""
    frame_width: int = 96
    """Of what gives the frame scores; 0: there is nothing, and other members of an ensemble give them."""

    def __post_init__(self) -> None:
        if self.encoder not in BORROWED:
            raise ValueError(f"unknown encoder {self.encoder!r}; known: {', '.join(sorted(BORROWED))}")
        if not 1 <= self.blocks <= self.origin.blocks:
            raise ValueError(f"blocks must lie between 1 and {self.origin.blocks}")
        for name, most in (
            ("hidden", self.origin.hidden), ("heads", self.origin.heads), ("channels", self.origin.width),
        ):  # fmt: skip
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must lie between 1 and {most}, or be 0 for all")
        if self.frame_width < 0:
            raise ValueError("frame_width must be 0 or more")
        if self.step not in (1, 2, 4):
            raise ValueError("step must be 1, 2 or 4")
        if self.last_step < 1:
            raise ValueError("last_step must be 1 or more")

    @property
    def origin(self) -> BorrowedEncoder:
        return BORROWED[self.encoder]

    @property
    def statistics(self) -> int:
        """Numbers that the head reads: of every layer's every channel three."""
        return STATISTICS * self.origin.width * (self.blocks + 1)


def build(config: RecogniserConfig) -> SpoofNetwork:
    if not config.frame_width:
        raise ConfigError("model.frame_width must be above 0 where no other member gives frame scores")
    return SpoofNetwork(member(config))


def member(config: RecogniserConfig) -> "RecogniserMember":
    frontend = (WholeSpectrogram if config.whole else RecogniserSpectrogram)(config.margin)
    encoder = Encoder(
        config.origin,
        config.blocks,
        config.hidden,
        heads=config.heads,
        channels=config.channels,
        step=config.step,
        last_step=config.last_step,
        arithmetic=WHOLE if config.whole else FLOATS,
    )
    if config.whole:  # what is rounded has no gradient
        encoder.requires_grad_(requires_grad=False)
    head = StatisticsHead(config.statistics, config.embedding, config.dropout)
    halvings = (FRAMES_A_SCORE // config.step).bit_length() - 1
    frames = None
    if config.frame_width:
        layers = config.blocks + (config.last_step == 1)  # those at all frames
        frames = FrameHead(layers, config.origin.width, config.frame_width, halvings)
    return RecogniserMember(frontend, encoder, head, frames)


def frame_hop_samples(_config: RecogniserConfig) -> int:
    """Samples from one frame score to the next."""
    return 2 * HOP * FRAMES_A_SCORE


class RecogniserSpectrogram(PowerSpectrum):
    """(batch, samples) to (batch, 1, MELS, frames): the loudest point and RANGE powers of ten below it are 2 apart."""

    def __init__(self, margin: int) -> None:
        super().__init__(FrontendConfig(fft=FFT, window=FFT, hop=HOP, margin=margin, band_hz=(0.0, TOP_HZ)))
        self.register_buffer("mels", slaney_filters(MELS, FFT, SAMPLE_RATE_HZ, TOP_HZ), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        level = (waveforms.square().mean(-1, keepdim=True) + VARIANCE_FLOOR).sqrt()
        mel = torch.matmul(self.get_buffer("mels"), self.power(waveforms / level)) * SINE_POWER
        # As in LogSpectrogram: the exporter takes so small a floor for 0 and drops it.
        logarithm = torch.log(mel / POWER_FLOOR + 1.0) / math.log(10.0) + math.log10(POWER_FLOOR)
        loudest = logarithm.amax((1, 2), keepdim=True)
        scaled: Tensor = (torch.maximum(logarithm, loudest - RANGE) + 4.0) / 4.0
        return scaled.unsqueeze(1)


class WholeSpectrogram(RecogniserSpectrogram):
    """The same, summed in doubles that are rounded to floats at the end: an encoder of whole numbers hears the same on
    every processor.

    Doubles take twice as long, so the transform is folded once more: at a quarter of the transform a cosine of an even
    bin is even and one of an odd bin odd, and with sines it is the other way round.
    """

    def forward(self, waveforms: Tensor) -> Tensor:
        wide = waveforms.double()
        level = (wide * wide).mean(-1, keepdim=True) + nearest_float(VARIANCE_FLOOR)
        ratio = self._mel(waveforms) / level.unsqueeze(-1) * nearest_float(SINE_POWER / POWER_FLOOR) + 1.0
        logarithm = torch.log(ratio) * nearest_float(1.0 / math.log(10.0)) + math.log10(POWER_FLOOR)
        loudest = logarithm.amax((1, 2), keepdim=True)
        scaled: Tensor = (torch.maximum(logarithm, loudest - RANGE) + 4.0) / 4.0
        return scaled.float().transpose(1, 2).unsqueeze(1)

    def _mel(self, waveforms: Tensor) -> Tensor:
        """(batch, samples) to (batch, frames, MELS), of doubles."""
        quarter = FFT // 4
        after, before = self.folded(self.trimmed(waveforms))
        taper, waves = self.get_buffer("folded_taper"), self.get_buffer("waves")
        angle = torch.outer(self.get_buffer("places")[: quarter + 1], self.get_buffer("bin_numbers")) % FFT
        mels = self.get_buffer("mels").double().T
        squares: tuple[list[Tensor], list[Tensor]] = [], []  # of even bins, of odd ones
        for part, (half, table) in enumerate(zip((after + before, after - before), waves, strict=True)):
            tapered = half * taper
            near = tapered[..., : quarter + 1]
            # From the other end; what lies at the end weighs nothing, and what lies at the quarter has no other.
            far = F.pad(tapered[..., quarter + 1 :].flip(-1), (1, 1))
            for odd in (0, 1):
                folded = near + far if odd == part else near - far
                spectrum = torch.matmul(folded.double(), table[angle[:, odd::2]].double())
                squares[odd].append(spectrum * spectrum)
        even_power, odd_power = (real + imaginary for real, imaginary in squares)
        mel: Tensor = even_power @ mels[0::2] + odd_power @ mels[1::2]
        return mel


class Attention(nn.Module):
    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(batch, heads, frames, channels) each."""
        return F.scaled_dot_product_attention(query, key, value)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What an encoder is made of."""

    linear: type[nn.Linear]
    convolution: type[nn.Conv1d]
    norm: type[nn.LayerNorm]
    attention: type[nn.Module]
    gelu: Callable[[Tensor], Tensor]


FLOATS = Arithmetic(nn.Linear, nn.Conv1d, nn.LayerNorm, Attention, F.gelu)
WHOLE = Arithmetic(WholeLinear, WholeConv1d, WholeNorm, WholeAttention, gelu)


class Block(nn.Module):
    """(batch, frames, width) to the same: attention, then two layers, each after a norm (Xiong et al., 2020)."""

    def __init__(self, width: int, heads: int, channels: int, hidden: int, arithmetic: Arithmetic) -> None:
        """`channels` are those of one of the `heads`."""
        super().__init__()
        self.heads, self.attention, self.gelu = heads, arithmetic.attention(), arithmetic.gelu
        linear = arithmetic.linear
        self.attention_norm, self.norm = arithmetic.norm(width), arithmetic.norm(width)
        self.query, self.value = (linear(width, heads * channels) for _ in range(2))
        self.out = linear(heads * channels, width)
        self.key = linear(width, heads * channels, bias=False)
        self.wide, self.narrow = linear(width, hidden), linear(hidden, width)

    def forward(self, x: Tensor, step: int = 1) -> Tensor:
        """With a `step`, of every so many frames one is answered for; all are attended to."""
        normed = self.attention_norm(x)
        query, key, value = (
            part(frames).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part, frames in ((self.query, normed[:, ::step]), (self.key, normed), (self.value, normed))
        )
        heard = self.attention(query, key, value).transpose(1, 2).flatten(2)
        x = x[:, ::step] + self.out(heard)
        added: Tensor = x + self.narrow(self.gelu(self.wide(self.norm(x))))
        return added


@dataclass(frozen=True, slots=True)
class Part:
    """Units of an encoder of which there may be fewer than were borrowed."""

    before: tuple[str, ...]
    """Names of the layers whose rows they are."""
    after: str
    """That of the layer whose columns they are."""
    kept: int
    """Units that there are."""
    numbers: int = 1
    """What one of them says, of each frame."""

    def rows(self, units: Tensor) -> Tensor:
        """Of the layers before, for units that stay."""
        return (units[:, None] * self.numbers + torch.arange(self.numbers)).flatten()

    def heaviest(self, weights: Mapping[str, Tensor]) -> Tensor:
        """Of the units that `weights` have, as many as are kept."""
        goes_in, comes_out = weights[f"{self.before[-1]}.weight"], weights[f"{self.after}.weight"]
        length = goes_in.flatten(1).norm(dim=1) * comes_out.transpose(0, 1).flatten(1).norm(dim=1)
        units: Tensor = length.reshape(-1, self.numbers).sum(1).topk(self.kept).indices.sort().values
        return units

    def cut(self, weights: dict[str, Tensor], units: Tensor) -> None:
        """Leave only these in the encoder's `weights`."""
        rows = self.rows(units)
        for name in (f"{layer}.{kind}" for layer in self.before for kind in ("weight", "bias")):
            if name in weights:
                weights[name] = weights[name][rows]
        weights[f"{self.after}.weight"] = weights[f"{self.after}.weight"][:, rows]


class Encoder(nn.Module):
    """(batch, 1, MELS, frames) to (batch, frames / 2 / step, width) of what enters the blocks, and what leaves each;
    what leaves the last is (batch, frames / 2 / step / last_step, width)."""

    def __init__(
        self,
        origin: BorrowedEncoder,
        blocks: int,
        hidden: int = 0,
        *,
        heads: int = 0,
        channels: int = 0,
        step: int = 1,
        last_step: int = 1,
        arithmetic: Arithmetic = FLOATS,
    ) -> None:
        """`hidden`, `heads` and `channels` as in `RecogniserConfig`: 0 stands for all."""
        super().__init__()
        self.origin, self.step, self.last_step = origin, step, last_step
        self.hidden, self.heads = hidden or origin.hidden, heads or origin.heads
        self.channels, self.gelu = channels or origin.width, arithmetic.gelu
        width, self.head_channels = origin.width, origin.width // origin.heads
        self.first = arithmetic.convolution(MELS, self.channels, 3, padding=1)
        self.second = arithmetic.convolution(self.channels, width, 3, stride=2 * step, padding=1)
        self.places = nn.Parameter(torch.zeros(HEARD_FRAMES // step, width))
        self.blocks = nn.ModuleList(
            Block(width, self.heads, self.head_channels, self.hidden, arithmetic) for _ in range(blocks)
        )

    def forward(self, spectrogram: Tensor) -> list[Tensor]:
        x = self.gelu(self.second(self.gelu(self.first(spectrogram.squeeze(1))))).transpose(1, 2)
        frames = x.shape[1]
        x = x + (self.places[-frames:] if self.origin.at_the_end else self.places[:frames])
        layers: list[Tensor] = [x]
        for number, block in enumerate(self.blocks, 1):
            layers.append(block(layers[-1], self.last_step if number == len(self.blocks) else 1))
        return layers

    def in_floats(self) -> "Encoder":
        """One of the same weights that multiplies floats."""
        encoder = Encoder(
            self.origin,
            len(self.blocks),
            self.hidden,
            heads=self.heads,
            channels=self.channels,
            step=self.step,
            last_step=self.last_step,
        )
        encoder.load_state_dict(dict(self.named_parameters()))
        return encoder

    def fewer(self) -> list[Part]:
        """Those parts of which it has less than was borrowed."""
        origin, found = self.origin, []
        if self.channels < origin.width:
            found.append(Part(("first",), "second", self.channels))
        for number in range(len(self.blocks)):
            stem = f"blocks.{number}"
            if self.heads < origin.heads:
                before = tuple(f"{stem}.{name}" for name in ("query", "key", "value"))
                found.append(Part(before, f"{stem}.out", self.heads, self.head_channels))
            if self.hidden < origin.hidden:
                found.append(Part((f"{stem}.wide",), f"{stem}.narrow", self.hidden))
        return found

    def take(self, weights: Mapping[str, Tensor], chosen: Mapping[str, Tensor] | None = None) -> None:
        """Those of the whole encoder, as `whole_encoder` gives them: of its blocks the first, of each of `fewer` the
        units that are `chosen` (by the name of the layer after), else those that weigh most, by the length of what goes
        into one (of a head: into its values) times the length of what comes out."""
        taken = {name: weights[name] for name, _ in self.named_parameters()}
        taken["places"] = taken["places"][:: self.step]
        for part in self.fewer():
            part.cut(taken, part.heaviest(taken) if chosen is None else chosen[part.after])
        self.load_state_dict(self.state_dict() | taken)


class StatisticsHead(nn.Module):
    """From the layers' statistics over a clip to its score: standardised as on the training part, then two layers."""

    def __init__(self, statistics: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(statistics))
        self.register_buffer("deviation", torch.ones(statistics))
        self.project = nn.Linear(statistics, embedding)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(embedding, 1)

    def forward(self, statistics: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, statistics) to (batch,) logits, higher = more likely spoof, and (batch, embedding)."""
        embedding = torch.relu(self.project(self.dropout(self.standardised(statistics))))
        score: Tensor = self.score(self.dropout(embedding)).squeeze(1)
        return score, embedding

    def standardised(self, statistics: Tensor) -> Tensor:
        z = (statistics - self.get_buffer("mean")) / self.get_buffer("deviation")
        return z.clamp(-LONGEST_Z, LONGEST_Z)


class FrameHead(nn.Module):
    """From the layers' frames to frame scores of 160 ms: each halving a convolution, and beside the result how it
    differs from the clip's mean, since what is set in differs from what it is set into."""

    def __init__(self, layers: int, heard: int, width: int, halvings: int, hidden: int = 64) -> None:
        """`heard` is the layers' width, `width` that of what is made of them."""
        super().__init__()
        self.projections = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(heard), nn.Linear(heard, width)) for _ in range(layers)
        )
        self.norm = nn.BatchNorm1d(width)
        self.slower = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv1d(width, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm1d(width), nn.ReLU()
                )
                for _ in range(halvings)
            )
        )
        self.score = frame_scorer(2 * width, hidden)

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """(batch, frames, heard) each to (batch, frames / 2 ** halvings, rounded up)."""
        projected = [project(layer) for project, layer in zip(self.projections, layers, strict=True)]
        heard = self.slower(torch.relu(self.norm(torch.stack(projected).sum(0).transpose(1, 2))))
        scores: Tensor = self.score(torch.cat([heard, heard - heard.mean(-1, keepdim=True)], dim=1))
        return scores.squeeze(1)


class RecogniserMember(Member):
    """The encoder with a head on what it says of the whole clip and, but for `frames` None, one on what it says of each
    moment."""

    backbone: Encoder
    head: StatisticsHead

    def __init__(
        self, frontend: RecogniserSpectrogram, encoder: Encoder, head: StatisticsHead, frames: FrameHead | None
    ) -> None:
        super().__init__(frontend, encoder, head)
        self.frames = frames

    def judge(self, spectrogram: Tensor) -> Scores:
        layers = self.backbone(spectrogram)
        score, embedding = self.head(statistics(layers))
        if self.frames is None:
            return Scores(score, None, embedding)
        return Scores(score, self.frames(layers[: len(self.frames.projections)]), embedding)

    def statistics(self, waveforms: Tensor) -> Tensor:
        """(batch, samples) to what the head reads, (batch, `RecogniserConfig.statistics`)."""
        return statistics(self.backbone(self.frontend(waveforms)))

    def frame_parts(self) -> list[nn.Module]:
        return [] if self.frames is None else [self.frames]

    @torch.no_grad()
    def scale_embedding(self, factor: float) -> None:
        """Multiply every embedding by `factor`, above 0; scores stay as they are."""
        self.head.project.weight.mul_(factor)
        self.head.project.bias.mul_(factor)
        self.head.score.weight.div_(factor)

    def borrow(self, folder: Path) -> None:
        self.backbone.take(whole_encoder(self.backbone.origin, folder))

    def borrowed(self) -> list[nn.Parameter]:
        return list(self.backbone.parameters())


def statistics(layers: Sequence[Tensor]) -> Tensor:
    """Of each (batch, frames, width) layer the mean, the spread and the mean step from frame to frame, joined."""
    parts = []
    for layer in layers:
        mean = mean_of_frames(layer)
        spread = (mean_of_frames((layer - mean).square()) + VARIANCE_FLOOR).sqrt()
        parts += [mean, spread, mean_of_frames((layer[:, 1:] - layer[:, :-1]).abs())]
    return torch.cat(parts, dim=2).squeeze(1)


def mean_of_frames(layer: Tensor) -> Tensor:
    """(batch, frames, width) to (batch, 1, width). As a product of matrices, because ONNX Runtime takes several times
    as long for a mean along an axis that is not the last."""
    frames = layer.shape[1]
    return torch.matmul(layer.new_full((1, 1, frames), 1.0 / frames), layer)
