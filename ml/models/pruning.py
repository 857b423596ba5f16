"""A borrowed encoder with fewer neurons, heads of attention and channels, which says nearly what it said with all.

    prune(encoder, whole, run)     # `run` gives some hundred training clips to `whole`

Of such units those are kept whose output varies most, times the length of what each adds; where there are few enough
to try every choice, that of which least is lost. What the others said is then said by those that were kept, as far as
least squares over the clips' frames can (the reconstruction of He et al., 2017, ICCV, for one layer). Nothing is learnt
step by step: an encoder that was taught to repeat the whole one told synthesis from speech no better
(docs/experiments.md, twelfth round).
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.recogniser import Encoder, Part
from ml.models.whole_numbers import matrix_of, taps_of, weight_from

RIDGE = 1e-4  # of the mean of their variances: numbers that say the same don't cancel each other with huge weights
TINY = 1e-12  # an output that never changes loses nothing
CHOICES = 100  # that are tried one by one: of eight heads there are at most 70


class _Moments:
    """Of the numbers that enter a layer, over all frames that it is given."""

    def __init__(self, numbers: int) -> None:
        self.frames = 0
        self.sums = torch.zeros(numbers, dtype=torch.float64)
        self.products = torch.zeros(numbers, numbers, dtype=torch.float64)

    def __call__(self, layer: nn.Module, given: tuple[Tensor]) -> None:
        (said,) = given
        if isinstance(layer, nn.Conv1d):
            padding = int(layer.padding[0])
            frames = F.pad(said, (padding, padding)).transpose(1, 2)
            said = taps_of(frames, layer.kernel_size[0], layer.stride[0])
        said = said.flatten(0, -2).double()
        self.frames += len(said)
        self.sums += said.sum(0)
        self.products += said.T @ said

    def mean(self) -> Tensor:
        return self.sums / self.frames

    def covariance(self) -> Tensor:
        mean = self.mean()
        found = self.products / self.frames - mean[:, None] * mean[None]
        found.diagonal().clamp_(min=0.0)  # of a number that never changes rounding can leave less
        return found


@torch.no_grad()
def prune(encoder: Encoder, whole: Encoder, run: Callable[[], object]) -> dict[str, float]:
    """Give `encoder` the weights of `whole`, whose blocks are as many and which has all units; by the name of the layer
    that fewer numbers enter the share of the variance of what comes out of it that is lost, mean over its outputs.
    `run` makes `whole` hear the clips."""
    parts = encoder.fewer()
    layers = [whole.get_submodule(part.after) for part in parts]
    moments = [_Moments(len(matrix_of(layer.get_parameter("weight")))) for layer in layers]
    hooks = [layer.register_forward_pre_hook(counted) for layer, counted in zip(layers, moments, strict=True)]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    cuts = {
        part.after: _cut(part, layer.get_parameter("weight"), counted)
        for part, layer, counted in zip(parts, layers, moments, strict=True)
    }
    encoder.take(whole.state_dict(), {name: cut.chosen for name, cut in cuts.items()})
    for name, cut in cuts.items():
        weight, bias = (encoder.get_parameter(f"{name}.{kind}") for kind in ("weight", "bias"))
        weight.copy_(weight_from(cut.said, weight.shape))
        bias.add_(cut.moved.float())
    return {name: cut.lost for name, cut in cuts.items()}


@dataclass(frozen=True, slots=True)
class _Cut:
    chosen: Tensor
    """Units that stay."""
    said: Tensor
    """(numbers that stay, outputs): what each adds now."""
    moved: Tensor
    """(outputs,): what is added to the bias."""
    lost: float


def _cut(part: Part, weight: Tensor, moments: _Moments) -> _Cut:
    covariance, mean, adds = moments.covariance(), moments.mean(), matrix_of(weight).double()
    channels = weight.shape[1]
    units, first_of_tap = channels // part.numbers, torch.arange(0, len(adds), channels)

    def rows_of(chosen: Tensor) -> Tensor:
        return (first_of_tap[:, None] + part.rows(chosen)).flatten()

    if math.comb(units, part.kept) <= CHOICES:
        choices = map(torch.tensor, itertools.combinations(range(units), part.kept))
        chosen = min(choices, key=lambda units: _refitted(covariance, adds, rows_of(units))[1])
    else:
        varies = covariance.diagonal().sqrt() * adds.norm(dim=1)
        chosen = varies.reshape(-1, units, part.numbers).sum((0, 2)).topk(part.kept).indices.sort().values
    kept = rows_of(chosen)
    said, lost = _refitted(covariance, adds, kept)
    return _Cut(chosen, said, mean @ adds - mean[kept] @ said, lost)


def _refitted(covariance: Tensor, adds: Tensor, kept: Tensor) -> tuple[Tensor, float]:
    """(kept, outputs): what those that are kept must add to say the most of what all said; the share that is lost."""
    inner = covariance[kept][:, kept]
    ridge = RIDGE * covariance.diagonal().mean() * torch.eye(len(kept), dtype=torch.float64)
    said = torch.linalg.solve(inner + ridge, covariance[kept] @ adds)
    # Of the variance: that of all of it, that of what is said now, and what the two have in common.
    variance = ((covariance @ adds) * adds).sum(0)
    common = ((covariance[kept] @ adds) * said).sum(0)
    lost = variance - 2 * common + ((inner @ said) * said).sum(0)
    return said, float((lost / variance.clamp(min=TINY)).mean())
