"""Weights of 8 bits: a quarter of the file, and the same arithmetic.

    round_weights(network)          # before the export: what is compared with the graph is what is shipped
    pack_weights(model)             # before anything is folded into a matrix: 8-bit numbers and a scale for each row

ONNX Runtime multiplies them out when it loads the graph, so nothing is rounded while it runs, and nothing is faster.
A scale has so few digits that scale times number is exact: the packed graph gives what the unpacked one would.
"""

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper
from torch import Tensor, nn

from ml.models.whole_numbers import row_scales, weights_of

WEIGHT_BITS = 8
STEPS = 127  # to either side of 0
SMALLEST = 4096  # weights of a matrix; what is smaller weighs nothing in the file


@torch.no_grad()
def round_weights(network: nn.Module) -> None:
    """In place: every large matrix to 255 steps, with a scale for each of its rows (what gives one output). Those that
    are multiplied as whole numbers have fewer steps of their own."""
    whole = {id(weight) for weight in weights_of(network).values()}
    for parameter in network.parameters():
        if parameter.ndim > 1 and parameter.numel() >= SMALLEST and id(parameter) not in whole:
            parameter.copy_(_rounded(parameter))


def _rounded(weight: Tensor) -> Tensor:
    rows, scales = weight.flatten(1), row_scales(weight, STEPS)[:, None]
    return (torch.round(rows / scales) * scales).reshape(weight.shape)


def pack_weights(model: ModelProto) -> int:
    """Store what `round_weights` rounded as 8-bit numbers; how many tensors were."""
    graph = model.graph
    multiplied: list[onnx.NodeProto] = []
    kept: list[onnx.TensorProto] = []
    packed = 0
    for constant in graph.initializer:
        found = _numbers(numpy_helper.to_array(constant)) if constant.data_type == onnx.TensorProto.FLOAT else None
        if found is None:
            kept.append(constant)
            continue
        name = constant.name
        kept += [
            numpy_helper.from_array(found[0], f"{name}.numbers"),
            numpy_helper.from_array(found[1], f"{name}.scale"),
        ]
        multiplied += [
            helper.make_node("Cast", [f"{name}.numbers"], [f"{name}.wide"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}.wide", f"{name}.scale"], [name]),
        ]
        packed += 1
    nodes = [*multiplied, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    return packed


def _numbers(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]] | None:
    """8-bit numbers and scales whose products are exactly `weight`, whichever axis its rows lie on by now; or None."""
    if weight.ndim < 2 or weight.size < SMALLEST:
        return None
    for axis in range(weight.ndim):
        others = tuple(i for i in range(weight.ndim) if i != axis)
        scale = np.abs(weight).max(axis=others, keepdims=True) / np.float32(STEPS)
        scale[scale == 0] = 1.0
        numbers = np.round(weight / scale)
        if np.array_equal(numbers.astype(np.float32) * scale, weight):
            return numbers.astype(np.int8), scale
    return None
