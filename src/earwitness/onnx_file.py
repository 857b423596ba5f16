"""The little of ONNX's file format that is needed to take a network's numbers and to put them into another graph.

    numbers = read_numbers(path)            # name -> array, of every constant and initializer
    graph = encode_graph([Node("Relu", ["x"], ["y"])], {}, inputs={"x": Input((None, 4))}, outputs={"y": (None, 4)})
    onnxruntime.InferenceSession(graph)

ONNX files are Protocol Buffers; the field numbers below are those of onnx.proto, which never change. The `onnx`
package does all this and much more, but weighs 18 MB and a third of a second at every start of a worker
(docs/adr/0030); the tests hold this module to it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import ModelMismatchError

IR_VERSION = 8
OPSET_VERSION = 17
FLOAT, INT32, INT64 = 1, 6, 7  # TensorProto.DataType
DATA_TYPES: dict[int, np.dtype[Any]] = {FLOAT: np.dtype("<f4"), INT64: np.dtype("<i8")}
VARINT, BYTES = 0, 2  # wire types
FIXED_SIZES = {1: 8, 5: 4}  # bytes of the wire types that this module only skips
ATTRIBUTE_INT = 2  # AttributeProto.AttributeType

Array: TypeAlias = NDArray[Any]
"""Of float32 or int64."""
Shape: TypeAlias = tuple[int | None, ...]
"""None: a dynamic dimension."""


@dataclass(frozen=True, slots=True)
class Node:
    op: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Input:
    shape: Shape
    kind: int = FLOAT


def read_numbers(path: Path) -> dict[str, Array]:
    """The float32 and int64 tensors that the file holds as plain bytes, by name, those of nested graphs included.

    Raises ModelMismatchError for a file that is no ONNX graph.
    """
    found: dict[str, Array] = {}
    try:
        for graph in _values(memoryview(path.read_bytes()), 7):
            _gather(graph, found)
    except (IndexError, ValueError, UnicodeDecodeError) as error:
        raise ModelMismatchError(f"{path} is no ONNX graph: {error}") from error
    return found


def _gather(graph: memoryview, found: dict[str, Array]) -> None:
    for tensor in _values(graph, 5):
        _keep(_text(tensor, 8), tensor, found)
    for node in _values(graph, 1):
        for attribute in _values(node, 5):
            for tensor in _values(attribute, 5):  # the value of a Constant has its output's name
                _keep(_text(node, 2), tensor, found)
            for nested in _values(attribute, 6):
                _gather(nested, found)


def _keep(name: str, tensor: memoryview, found: dict[str, Array]) -> None:
    kind = next(_numbers(tensor, 2), 0)
    raw = next(_values(tensor, 9), None)
    if kind in DATA_TYPES and raw is not None:
        found[name] = np.frombuffer(raw, DATA_TYPES[kind]).reshape(list(_numbers(tensor, 1)))


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        wire = key & 7
        if wire == VARINT:
            number, at = _varint(message, at)
            yield key >> 3, number
            continue
        if wire == BYTES:
            size, at = _varint(message, at)
        elif wire in FIXED_SIZES:
            size = FIXED_SIZES[wire]
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > len(message):
            raise ValueError("it breaks off")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _values(message: memoryview, wanted: int) -> Iterator[memoryview]:
    return (value for number, value in _fields(message) if number == wanted and isinstance(value, memoryview))


def _numbers(message: memoryview, wanted: int) -> Iterator[int]:
    """Of a field of integers, packed or one by one."""
    for number, value in _fields(message):
        if number != wanted:
            continue
        if isinstance(value, int):
            yield value
            continue
        at = 0
        while at < len(value):
            one, at = _varint(value, at)
            yield one


def _text(message: memoryview, wanted: int) -> str:
    return bytes(next(_values(message, wanted), memoryview(b""))).decode()


def encode_graph(
    nodes: Iterable[Node], numbers: Mapping[str, Array], inputs: Mapping[str, Input], outputs: Mapping[str, Shape]
) -> bytes:
    """An ONNX file: `nodes` in the order of their running, `outputs` of float32, `numbers` built in."""
    graph = (
        b"".join(_chunk(1, _node(node)) for node in nodes)
        + _chunk(2, b"earwitness")
        + b"".join(_chunk(5, _tensor(name, array)) for name, array in numbers.items())
        + b"".join(_chunk(11, _value(name, taken.kind, taken.shape)) for name, taken in inputs.items())
        + b"".join(_chunk(12, _value(name, FLOAT, shape)) for name, shape in outputs.items())
    )
    return _integer(1, IR_VERSION) + _chunk(7, graph) + _chunk(8, _integer(2, OPSET_VERSION))


def _node(node: Node) -> bytes:
    return (
        b"".join(_chunk(1, name.encode()) for name in node.inputs)
        + b"".join(_chunk(2, name.encode()) for name in node.outputs)
        + _chunk(4, node.op.encode())
        + b"".join(
            _chunk(5, _chunk(1, name.encode()) + _integer(3, value) + _integer(20, ATTRIBUTE_INT))
            for name, value in node.attributes.items()
        )
    )


def _tensor(name: str, array: Array) -> bytes:
    kind = FLOAT if array.dtype == np.float32 else INT64
    raw = np.ascontiguousarray(array, DATA_TYPES[kind]).tobytes()
    return (
        b"".join(_integer(1, size) for size in array.shape)
        + _integer(2, kind)
        + _chunk(8, name.encode())
        + _chunk(9, raw)
    )


def _value(name: str, kind: int, dims: Shape) -> bytes:
    """An input or output."""
    shape = _chunk(2, b"".join(_chunk(1, _dim(dim)) for dim in dims))
    return _chunk(1, name.encode()) + _chunk(2, _chunk(1, _integer(1, kind) + shape))


def _dim(dim: int | None) -> bytes:
    return b"" if dim is None else _integer(1, dim)


def _chunk(number: int, content: bytes) -> bytes:
    return _encoded(number << 3 | BYTES) + _encoded(len(content)) + content


def _integer(number: int, value: int) -> bytes:
    return _encoded(number << 3 | VARINT) + _encoded(value)


def _encoded(value: int) -> bytes:
    """A varint; `value` is not negative."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
