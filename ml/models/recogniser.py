"""The encoder of a speech recogniser, trained on: its layers know speech, and learn here what is wrong with it.

A few hours of recordings teach a network made from nothing only so much. Whisper (Radford et al., 2023, ICML) heard
680,000 hours; the weights of its smallest encoder come with a package of Python's index (`BORROWED`), and nothing of
that package's code is run. Training starts from them (`borrow`), at a lower rate than the rest (`train.borrowed_rate`).
One frame of the encoder stands for 20 ms; one frame score for eight of them, 160 ms.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.waveform import SAMPLE_RATE_HZ
from ml.models.frontend import FrontendConfig, PowerSpectrum, slaney_filters
from ml.models.heads import AttentiveHead, Member, Scores, SpoofNetwork
from ml.published import PublishedWeights, fetch

BORROWED = PublishedWeights(
    package="pipecat-ai==1.14.0",
    file="pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx",
    sha256="2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f",
    licence="BSD-2-Clause",
)
"""The encoder of Whisper tiny (MIT), tuned to hear where a speaker ends; a weight has 8 bits."""
FFT, HOP, MELS, TOP_HZ = 400, 160, 80, 8_000.0  # the recogniser's own spectrogram
WIDTH, HEADS, HIDDEN, BLOCKS = 384, 6, 1536, 4  # of Whisper tiny
HEARD_FRAMES = 400  # 8 s, what those weights were tuned on; a shorter clip stands at the end
SINE_POWER = (FFT / 4) ** 2  # of one at full scale in the recogniser's spectrogram; 1 in ours
RANGE = 8.0  # powers of ten below the loudest, where the spectrogram ends
POWER_FLOOR, VARIANCE_FLOOR = 1e-10, 1e-7  # silence stays finite
HALVINGS = 3  # from frames of 20 ms to frame scores of 160 ms


@dataclass(frozen=True, slots=True)
class RecogniserConfig:
    blocks: int = BLOCKS
    """The first ones of the encoder; the others are left out."""
    hidden: int = HIDDEN
    """Neurons between the two layers of a block; where there are fewer than the encoder has, those that weigh most."""
    margin: int = 200
    """Samples left out at either end; 200 gives frames as an `ensemble`'s other members have them."""
    width: int = 192
    """Of what the head reads: all layers, projected and summed."""
    embedding: int = 128
    dropout: float = 0.2
    layer_dropout: float = 0.1
    """Within the blocks."""

    def __post_init__(self) -> None:
        if not 1 <= self.blocks <= BLOCKS:
            raise ValueError(f"blocks must lie between 1 and {BLOCKS}")
        if not 1 <= self.hidden <= HIDDEN:
            raise ValueError(f"hidden must lie between 1 and {HIDDEN}")


def build(config: RecogniserConfig) -> SpoofNetwork:
    return SpoofNetwork(member(config))


def member(config: RecogniserConfig) -> "RecogniserMember":
    head = AttentiveHead(config.width, config.embedding, config.dropout)
    return RecogniserMember(RecogniserSpectrogram(config.margin), Backbone(config), head)


def frame_hop_samples(_config: RecogniserConfig) -> int:
    """Samples from one frame score to the next."""
    return 2 * HOP << HALVINGS


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


class Block(nn.Module):
    """(batch, frames, WIDTH) to the same: attention, then two layers, each after a norm (Xiong et al., 2020)."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm, self.norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.key = nn.Linear(WIDTH, WIDTH, bias=False)
        self.wide, self.narrow = nn.Linear(WIDTH, hidden), nn.Linear(hidden, WIDTH)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.attention_norm(x)
        query, key, value = (
            part(normed).unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        heard = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = x + self.dropout(self.out(heard))
        thought: Tensor = self.narrow(self.dropout(F.gelu(self.wide(self.norm(x)))))
        added: Tensor = x + self.dropout(thought)
        return added


class Encoder(nn.Module):
    """(batch, 1, MELS, frames) to one (batch, frames / 2, WIDTH) of what enters the blocks and what leaves each."""

    def __init__(self, blocks: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.hidden = hidden
        self.first = nn.Conv1d(MELS, WIDTH, 3, padding=1)
        self.second = nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.places = nn.Parameter(torch.zeros(HEARD_FRAMES, WIDTH))
        self.blocks = nn.ModuleList(Block(hidden, dropout) for _ in range(blocks))

    def forward(self, spectrogram: Tensor) -> list[Tensor]:
        x = F.gelu(self.second(F.gelu(self.first(spectrogram.squeeze(1))))).transpose(1, 2)
        x = x + self.places[-x.shape[1] :]
        layers: list[Tensor] = [x]
        for block in self.blocks:
            layers.append(block(layers[-1]))
        return layers

    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Those of the whole encoder, as `read_encoder` gives them: of its blocks the first, of their neurons those
        that weigh most, by the length of what goes into one times the length of what comes out."""
        taken = {name: weights[name] for name in self.state_dict()}
        for number in range(len(self.blocks)):
            stem = f"blocks.{number}"
            wide, narrow = taken[f"{stem}.wide.weight"], taken[f"{stem}.narrow.weight"]
            kept = (wide.norm(dim=1) * narrow.norm(dim=0)).topk(self.hidden).indices.sort().values
            taken[f"{stem}.wide.weight"], taken[f"{stem}.wide.bias"] = wide[kept], taken[f"{stem}.wide.bias"][kept]
            taken[f"{stem}.narrow.weight"] = narrow[:, kept]
        self.load_state_dict(taken)


class Backbone(nn.Module):
    """(batch, 1, MELS, frames) to (batch, width, frames / 2): the encoder's layers, each normed, projected, summed."""

    def __init__(self, config: RecogniserConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config.blocks, config.hidden, config.layer_dropout)
        self.projections = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, config.width)) for _ in range(config.blocks + 1)
        )
        self.norm = nn.BatchNorm1d(config.width)

    def forward(self, spectrogram: Tensor) -> Tensor:
        layers = self.encoder(spectrogram)
        projected = [project(layer) for project, layer in zip(self.projections, layers, strict=True)]
        heard: Tensor = torch.relu(self.norm(torch.stack(projected).sum(0).transpose(1, 2)))
        return heard


class RecogniserMember(Member):
    """Its frame scores: those of 20 ms, pooled, and what convolutions over them say."""

    backbone: Backbone

    def __init__(self, frontend: nn.Module, backbone: Backbone, head: AttentiveHead) -> None:
        super().__init__(frontend, backbone, head)
        width = head.frame_score.in_channels
        self.slower = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv1d(width, width, 3, stride=2, padding=1, groups=width, bias=False),
                    nn.Conv1d(width, width, 1, bias=False),
                    nn.BatchNorm1d(width),
                    nn.ReLU(),
                )
                for _ in range(HALVINGS)
            ),
            nn.Conv1d(width, 1, 1),
        )

    def judge(self, spectrogram: Tensor) -> Scores:
        features = self.backbone(spectrogram)
        scores: Scores = self.head(features)
        frames = scores.frame_scores[:, None, None]
        for _ in range(HALVINGS):  # as the strides do, rounded up
            frames = F.avg_pool2d(frames, (1, 3), (1, 2), (0, 1), count_include_pad=False)
        return scores._replace(frame_scores=frames[:, 0, 0] + self.slower(features).squeeze(1))

    def frame_parts(self) -> list[nn.Module]:
        return [*super().frame_parts(), self.slower]

    def borrow(self, folder: Path) -> None:
        self.backbone.encoder.take(read_encoder(fetch(BORROWED, folder)))

    def borrowed(self) -> list[nn.Parameter]:
        return list(self.backbone.encoder.parameters())


def read_encoder(path: Path) -> dict[str, Tensor]:
    """The weights of all of the encoder's parts by the names that `Encoder` gives them, out of the graph of `BORROWED`.

    A bias and a norm have their names in that graph; a matrix has none, and is found by the bias that is added to it.
    """
    graph = onnx.load(path).graph
    constants = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            whole, scale, zero = (constants[name].astype("float32") for name in node.input)
            if scale.ndim:  # a scale for each slice of one axis
                axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
                shape = [-1 if number == axis % whole.ndim else 1 for number in range(whole.ndim)]
                scale, zero = scale.reshape(shape), zero.reshape(shape)
            constants[node.output[0]] = (whole - zero) * scale
    made_by = {name: node for node in graph.node for name in node.output}

    def origin(name: str) -> onnx.NodeProto:
        """The node before a pair that rounds to 8 bits and back."""
        node: onnx.NodeProto = made_by[name]
        while node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node = made_by[node.input[0]]
        return node

    products = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in constants]
    by_bias = {
        bias: origin(rest).input[1]
        for node in graph.node
        if node.op_type == "Add"
        for bias, rest in (tuple(node.input), tuple(node.input)[::-1])
        if bias in constants and rest in made_by and origin(rest).op_type == "MatMul"
    }
    stem = "inner.encoder"
    found = {"places": constants[f"{stem}.embed_positions.weight"]}
    for ours, theirs in (("first", "conv1"), ("second", "conv2")):
        found[f"{ours}.weight"] = constants[f"{stem}.{theirs}.weight_DequantizeLinear_Output"]
        found[f"{ours}.bias"] = constants[f"{stem}.{theirs}.bias"]
    linear = {"query": "self_attn.q_proj", "value": "self_attn.v_proj", "out": "self_attn.out_proj"}
    linear |= {"wide": "fc1", "narrow": "fc2"}
    for number in range(BLOCKS):
        block, layer = f"blocks.{number}", f"{stem}.layers.{number}"
        for ours, theirs in (("attention_norm", "self_attn_layer_norm"), ("norm", "final_layer_norm")):
            for part in ("weight", "bias"):
                found[f"{block}.{ours}.{part}"] = constants[f"{layer}.{theirs}.{part}"]
        for ours, theirs in linear.items():
            bias = f"{layer}.{theirs}.bias"
            found[f"{block}.{ours}.weight"], found[f"{block}.{ours}.bias"] = (
                constants[by_bias[bias]].T,
                constants[bias],
            )
        query = by_bias[f"{layer}.self_attn.q_proj.bias"]
        beside = next(node.input[0] for node in products if node.input[1] == query)
        (key,) = (  # the one product of the same input that gets no bias
            node.input[1] for node in products if node.input[0] == beside and node.input[1] not in by_bias.values()
        )
        found[f"{block}.key.weight"] = constants[key].T
    return {name: torch.from_numpy(value.copy()) for name, value in found.items()}
