"""Arithmetic of an encoder that says the same on every processor, to the last bit, in a third of the time of floats.

    measure(encoder, ordinary, run)      # once: between which bounds the input of each product lies
    write_columns(network)               # before an export; `bounds_of` and `weight_of` read back what it leaves

Matrices multiply whole numbers of 8 bits: what comes in is rounded to 256 steps between two bounds, a row of weights to
127 (Jacob et al., 2018, CVPR). Since each product rounds its input anew, a difference in the last bit of one float
would grow from one to the next; so nothing here depends on the order in which a processor adds, nor on how it works
out a function:

- sums are of whole numbers, or of doubles that are rounded to floats far above where their own last bits lie;
- a function (GELU, the exponential) gets so few different numbers that each of its values is known to lie clear of the
  border between the two steps to which it may be rounded (`ml/tests/test_whole_numbers.py` goes through them);
- all else is one operation of floats after the other, each prescribed to the last bit by IEEE 754.

Weights use 7 of their 8 bits: many processors add two products in 16 bits, where 2 * 255 * 63 has room and
2 * 255 * 127 would be cut off. PyTorch does the same with floats that hold whole numbers, all below 2 ** 24.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.onnx import is_in_onnx_export
from torch.onnx.ops import symbolic

INPUT_STEPS = 255
MIDDLE = 128
WEIGHT_STEPS = 63  # to either side of 0
SCALE_BITS = 11  # of a scale's mantissa: with the 7 of a number less than the 24 of a float32
SHARE_STEPS = 255  # of the largest of attention's weights
FINEST_STEP = 2.0**-5
"""Of queries and of keys: a step of 64 channels' scores is then at least 2 ** -13. With finer ones some exponential
lies too near to a border."""
BENT_UNIT, GELU_UNIT = 2.0**-7, 2.0**-8  # what enters GELU is rounded to the one, what leaves it to the other
NORM_EPSILON = 2.0**-17  # a power of two is the same in floats and in doubles


class Steps(nn.Module):
    """Rounds to whole numbers from 0 to INPUT_STEPS, a step apart; what lies beyond a bound comes to lie on it."""

    step: Tensor
    zero: Tensor

    def __init__(self, step: float = 1.0, zero: int = 0) -> None:
        super().__init__()
        self.register_buffer("step", torch.tensor(step))
        self.register_buffer("zero", torch.tensor(zero, dtype=torch.uint8))

    def put(self, low: float, high: float) -> None:
        """Between these, and 0, which stays exactly 0: padding adds nothing."""
        low, high = min(low, 0.0), max(high, 0.0)
        step = (high - low) / INPUT_STEPS or 1.0
        self.step.fill_(step)
        self.zero.fill_(round(-low / step))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same. In an export they are of 8 bits, else floats."""
        if is_in_onnx_export():
            return symbolic("QuantizeLinear", (x, self.step, self.zero), dtype=torch.uint8, shape=x.shape)
        return (torch.round(x / self.step) + self.zero.float()).clamp(0, INPUT_STEPS)


class EvenSteps(Steps):
    """As far to either side of 0, by a step that is a power of two, `finest` or more: so are products of two steps."""

    def __init__(self, finest: float = 0.0) -> None:
        super().__init__(zero=MIDDLE)
        self.finest = finest

    def put(self, low: float, high: float) -> None:
        self.step.fill_(max(_even_step(low, high, INPUT_STEPS / 2), self.finest))


class SignedSteps(nn.Module):
    """The same for what is multiplied by such numbers: from -WEIGHT_STEPS to WEIGHT_STEPS, as weights are."""

    step: Tensor

    def __init__(self, finest: float = 0.0) -> None:
        super().__init__()
        self.finest = finest
        self.register_buffer("step", torch.tensor(1.0))
        self.register_buffer("zero", torch.tensor(0, dtype=torch.int8), persistent=False)

    def put(self, low: float, high: float) -> None:
        self.step.fill_(max(_even_step(low, high, WEIGHT_STEPS), self.finest))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        if is_in_onnx_export():
            furthest = WEIGHT_STEPS * self.step
            within = torch.minimum(torch.maximum(x, -furthest), furthest)
            given = (within, self.step, self.get_buffer("zero"))
            return symbolic("QuantizeLinear", given, dtype=torch.int8, shape=x.shape)
        return torch.round(x / self.step).clamp(-WEIGHT_STEPS, WEIGHT_STEPS)


def _even_step(low: float, high: float, steps: float) -> float:
    widest = max(-low, high)
    return 2.0 ** round(math.log2(widest / steps)) if widest > 0.0 else 1.0


class _Whole(nn.Module):
    """A module that rounds what comes in."""

    def steps(self) -> list[Steps | SignedSteps]:
        """For each of its inputs."""
        raise NotImplementedError


class WholeLinear(nn.Linear, _Whole):
    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias)
        self.bounds = Steps()

    def steps(self) -> list[Steps | SignedSteps]:
        return [self.bounds]

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        return _product(self, self.bounds(x))


class WholeConv1d(nn.Conv1d, _Whole):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, padding=padding)
        self.bounds = Steps()

    def steps(self) -> list[Steps | SignedSteps]:
        return [self.bounds]

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, frames) to (batch, outputs, frames / stride), by one product of matrices."""
        kernel, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        numbers = self.bounds(F.pad(x.transpose(1, 2), (0, 0, padding, padding)))
        return _product(self, taps_of(numbers, kernel, stride)).transpose(1, 2)


class WholeAttention(_Whole):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = EvenSteps(FINEST_STEP), SignedSteps(FINEST_STEP), SignedSteps()
        self.share = Steps(1.0 / SHARE_STEPS)

    def steps(self) -> list[Steps | SignedSteps]:
        return [self.query, self.key, self.value]

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(batch, heads, frames, channels) each, at most 64 channels and a power of four; of the query as many frames
        as are asked for."""
        told = self.value(value)
        scores = _sums(self.query(query), self.query.zero, self.key(key).transpose(2, 3))
        below = (scores - scores.amax(-1, keepdim=True)).float()
        unit = self.query.step * self.key.step * query.shape[-1] ** -0.5
        shares = self.share(torch.exp(below * unit))
        heard = _sums(shares, self.share.zero, told).float()
        whole = _sums(shares, self.share.zero, torch.ones_like(told[:, :, :, :1])).float()
        return heard * self.value.step / whole


class WholeNorm(nn.LayerNorm):
    """Means in doubles: in whichever order they are added, they round to the same float."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same."""
        wide = x.double()
        mean = wide.mean(-1, keepdim=True)
        variance = (wide * wide).mean(-1, keepdim=True) - mean * mean
        factor = 1.0 / (variance + NORM_EPSILON).sqrt()
        return (x - mean.float()) * factor.float() * self.weight + self.bias


def gelu(x: Tensor) -> Tensor:
    bent = F.gelu(torch.round(x * (1.0 / BENT_UNIT)) * BENT_UNIT)
    return torch.round(bent * (1.0 / GELU_UNIT)) * GELU_UNIT


def nearest_float(number: float) -> float:
    """Of 32 bits: as such the exporter writes a number that meets doubles."""
    return float(np.float32(number))


@torch.no_grad()
def measure(network: nn.Module, ordinary: nn.Module, run: Callable[[], object]) -> None:
    """Set the bounds of `network`'s modules of whole numbers to the mean of the smallest and of the largest numbers
    that come into the modules of the same names of `ordinary` (of the same weights, in floats) each time that `run`
    runs it."""
    modules = {name: module for name, module in network.named_modules() if isinstance(module, _Whole)}
    found: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in modules}

    def listen(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _module, given: found[name].append([(float(x.min()), float(x.max())) for x in given])

    hooks = [ordinary.get_submodule(name).register_forward_pre_hook(listen(name)) for name in modules]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    for name, module in modules.items():
        for steps, bounds in zip(module.steps(), np.mean(found[name], axis=0), strict=True):
            steps.put(float(bounds[0]), float(bounds[1]))


def bounds_of(network: nn.Module) -> dict[str, float]:
    """By name in its state: an exporter gives constants that are alike one name."""
    return {
        f"{name}.{part}": float(value)
        for name, module in network.named_modules()
        if isinstance(module, Steps | SignedSteps)
        for part, value in module.state_dict().items()
    }


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Those that are multiplied as whole numbers, by the names of their modules."""
    return {
        name: module.weight
        for name, module in network.named_modules()
        if isinstance(module, WholeLinear | WholeConv1d)
    }


def taps_of(x: Tensor, kernel: int, stride: int) -> Tensor:
    """(batch, frames, channels) to (batch, frames that come out, taps * channels): what a convolution without padding
    multiplies by the `matrix_of` its weight."""
    end = (x.shape[1] - kernel) // stride * stride + 1
    return torch.cat([x[:, tap : tap + end : stride] for tap in range(kernel)], dim=2)


def matrix_of(weight: Tensor) -> Tensor:
    """(outputs, inputs) or (outputs, inputs, taps) to (taps * inputs, outputs)."""
    return weight.T if weight.ndim == 2 else weight.permute(2, 1, 0).flatten(0, 1)


def weight_from(matrix: Tensor, shape: torch.Size) -> Tensor:
    """The weight of that shape whose `matrix_of` it is."""
    return matrix.T if len(shape) == 2 else matrix.reshape(shape[2], shape[1], shape[0]).permute(2, 1, 0)


@torch.no_grad()
def write_columns(network: nn.Module) -> None:
    """Give `network`'s products what an export writes of their weights: `columns` and `scale`."""
    for name, weight in weights_of(network).items():
        columns, scale = _columns(weight)
        module = network.get_submodule(name)
        module.register_buffer("columns", columns.contiguous().to(torch.int8), persistent=False)
        module.register_buffer("scale", scale, persistent=False)


def weight_of(columns: Tensor, scale: Tensor, shape: torch.Size) -> Tensor:
    """A weight of that shape that gives these again."""
    return weight_from(columns.float() * scale, shape)


def row_scales(weight: Tensor, steps: int) -> Tensor:
    """(rows,): by how much a weight of each row is to be divided so that the largest is `steps`. Of so few digits that
    scale times whole number is exact."""
    mantissa, exponent = torch.frexp(weight.flatten(1).abs().amax(1) / steps)
    mantissa = torch.ceil(mantissa * 2**SCALE_BITS) / 2**SCALE_BITS  # up: the largest weight must stay within
    scales = torch.ldexp(mantissa, exponent)
    scales[scales == 0] = 1.0
    return scales


@torch.no_grad()
def _columns(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(taps * inputs, outputs) whole numbers, and (outputs,) what a one of each stands for."""
    scale = row_scales(weight, WEIGHT_STEPS)
    numbers = torch.round(weight / scale.reshape(-1, *(1 for _ in weight.shape[1:])))
    return matrix_of(numbers), scale


def _product(layer: WholeLinear | WholeConv1d, numbers: Tensor) -> Tensor:
    if is_in_onnx_export():
        columns, scale = layer.get_buffer("columns"), layer.get_buffer("scale")
    else:
        columns, scale = _columns(layer.weight)
    product = _sums(numbers, layer.bounds.zero, columns).float() * (scale * layer.bounds.step)
    return product if layer.bias is None else product + layer.bias


def _sums(one: Tensor, zero: Tensor, other: Tensor) -> Tensor:
    """The product of two matrices of whole numbers, of which those of `one` count from `zero`."""
    if is_in_onnx_export():
        shape = (*one.shape[:-1], other.shape[-1])
        return symbolic("MatMulInteger", (one, other, zero), dtype=torch.int32, shape=shape)
    return (one - zero.float()) @ other
