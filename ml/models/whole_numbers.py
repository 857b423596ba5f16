"""Layers that multiply whole numbers of 8 bits, which processors do several times as fast as those of 32.

    measure(encoder, ordinary, run)      # once: between which bounds the input of each layer lies
    round_weights(encoder)               # afterwards it says what its graph will say

What comes in is rounded to 256 steps between two bounds, a row of weights to 127 (Jacob et al., 2018, CVPR). Sums of
their products are whole, so every processor finds the same. Weights use 7 of their 8 bits: many processors add two
products in 16 bits, where 2 * 255 * 63 has room and 2 * 255 * 127 would be cut off.

In PyTorch these layers do the same with floats. The exported graph has QuantizeLinear and DequantizeLinear around each
product, which ONNX Runtime joins to one product of whole numbers.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.onnx import is_in_onnx_export
from torch.onnx.ops import symbolic

from ml.config import ConfigError

INPUT_STEPS = 255
WHOLE_STEPS = 63  # to either side of 0, of a weight that is multiplied as a whole number
STORED_STEPS = 127  # of one that the graph multiplies out to a float
SCALE_BITS = 11  # of a scale's mantissa: with the 7 of a number less than the 24 of a float32
SMALLEST = 4096  # weights of a matrix; what is smaller weighs nothing in a file


class Bounds(nn.Module):
    """Rounds to INPUT_STEPS steps of one size; what lies beyond a bound comes to lie on it."""

    step: Tensor
    zero: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("step", torch.tensor(1.0))
        self.register_buffer("zero", torch.tensor(0, dtype=torch.uint8))

    def put(self, low: float, high: float) -> None:
        """Between these, and 0, which stays exactly 0: padding adds nothing."""
        low, high = min(low, 0.0), max(high, 0.0)
        step = (high - low) / INPUT_STEPS or 1.0
        self.step.fill_(step)
        self.zero.fill_(round(-low / step))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same. Gradients pass as if nothing were rounded."""
        zero = self.zero.float()
        rounded = ((torch.round(x / self.step) + zero).clamp(0, INPUT_STEPS) - zero) * self.step
        return x + (rounded - x).detach() if x.requires_grad else rounded

    def numbers(self, x: Tensor) -> Tensor:
        """In an export: the numbers, of 8 bits."""
        return _node("QuantizeLinear", x, self.step, self.zero, dtype=torch.uint8)

    def values(self, numbers: Tensor) -> Tensor:
        """In an export: what they stand for."""
        return _node("DequantizeLinear", numbers, self.step, self.zero)


class WholeLinear(nn.Linear):
    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias)
        self.bounds = Bounds()

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        if not is_in_onnx_export():
            return F.linear(self.bounds(x), self.weight, self.bias)
        return _product(self, self.bounds.numbers(x))


class WholeConv1d(nn.Conv1d):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, padding=padding)
        self.bounds = Bounds()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, frames) to (batch, outputs, frames / stride); in the graph one product of matrices."""
        if not is_in_onnx_export():
            return super().forward(self.bounds(x))
        kernel, stride, padding = self.kernel_size[0], self.stride[0], self.padding[0]
        numbers = self.bounds.numbers(F.pad(x.transpose(1, 2), (0, 0, int(padding), int(padding))))
        end = (numbers.shape[1] - kernel) // stride * stride + 1
        taps = [numbers[:, tap : tap + end : stride] for tap in range(kernel)]
        return _product(self, torch.cat(taps, dim=2)).transpose(1, 2)


def whole_layers(network: nn.Module) -> dict[str, WholeLinear | WholeConv1d]:
    """By their names in `network`."""
    return {
        name: module for name, module in network.named_modules() if isinstance(module, WholeLinear | WholeConv1d)
    }


@torch.no_grad()
def measure(network: nn.Module, ordinary: nn.Module, run: Callable[[], object]) -> None:
    """Set the bounds of `network`'s whole layers to the mean of the smallest and of the largest numbers that come into
    the layers of the same names of `ordinary` (of the same weights, in floats) each time that `run` runs it."""
    layers = whole_layers(network)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in layers}

    def listen(name: str) -> Callable[[nn.Module, tuple[Tensor]], None]:
        return lambda _module, given: found[name].append((float(given[0].min()), float(given[0].max())))

    hooks = [ordinary.get_submodule(name).register_forward_pre_hook(listen(name)) for name in layers]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    for name, layer in layers.items():
        lows, highs = zip(*found[name], strict=True)
        layer.bounds.put(sum(lows) / len(lows), sum(highs) / len(highs))


@torch.no_grad()
def round_weights(network: nn.Module) -> None:
    """In place: every large matrix to whole steps to either side of 0, a scale for each of its rows (what gives one
    output): WHOLE_STEPS of those that are multiplied as whole numbers, STORED_STEPS of others."""
    whole = {id(layer.weight) for layer in whole_layers(network).values()}
    for parameter in network.parameters():
        if id(parameter) in whole:
            parameter.copy_(_rounded(parameter, WHOLE_STEPS))
        elif parameter.ndim > 1 and parameter.numel() >= SMALLEST:
            parameter.copy_(_rounded(parameter, STORED_STEPS))


def _rounded(weight: Tensor, steps: int) -> Tensor:
    scale = _scale(weight, steps)
    return torch.round(weight / scale) * scale


def _scale(weight: Tensor, steps: int) -> Tensor:
    """Of each row, shape (rows, 1, ...); so few digits that scale times number is exact."""
    mantissa, exponent = torch.frexp(weight.flatten(1).abs().amax(1) / steps)
    mantissa = torch.ceil(mantissa * 2**SCALE_BITS) / 2**SCALE_BITS  # up: the largest weight must stay within
    scale = torch.ldexp(mantissa, exponent)
    scale[scale == 0] = 1.0
    return scale.reshape(-1, *(1 for _ in weight.shape[1:]))


@torch.no_grad()
def write_columns(network: nn.Module) -> None:
    """Before an export: give the whole layers what their input is multiplied by, `columns` (taps * inputs, outputs) and
    a scale for each. ConfigError where their weights were not rounded."""
    for name, layer in whole_layers(network).items():
        scale = _scale(layer.weight, WHOLE_STEPS)
        numbers = torch.round(layer.weight / scale)
        if not torch.equal(numbers * scale, layer.weight):
            raise ConfigError(f"{name} multiplies whole numbers: the experiment needs weight_bits = 8")
        columns = numbers.T if numbers.ndim == 2 else numbers.permute(2, 1, 0).flatten(0, 1)
        layer.register_buffer("columns", columns.contiguous().to(torch.int8), persistent=False)
        layer.register_buffer("scale", scale.flatten(), persistent=False)


def weight_of(columns: Tensor, scale: Tensor, shape: torch.Size) -> Tensor:
    """The weight, of that shape, that `write_columns` made those of."""
    product = columns.float() * scale
    return product.T if len(shape) == 2 else product.reshape(shape[2], shape[1], shape[0]).permute(2, 1, 0)


def _product(layer: WholeLinear | WholeConv1d, numbers: Tensor) -> Tensor:
    weight = _node("DequantizeLinear", layer.get_buffer("columns"), layer.get_buffer("scale"), axis=1)
    product = layer.bounds.values(numbers) @ weight
    return product if layer.bias is None else product + layer.bias


def _node(operator: str, *given: Tensor, dtype: torch.dtype = torch.float32, **attributes: Any) -> Tensor:
    """Of the exported graph; of the shape of what is first given."""
    return symbolic(operator, given, attributes, dtype=dtype, shape=given[0].shape)
