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

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.recogniser import Encoder, Part

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
        said = (_taps(given[0], layer) if isinstance(layer, nn.Conv1d) else given[0]).flatten(0, -2).double()
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


def _taps(x: Tensor, layer: nn.Conv1d) -> Tensor:
    """(batch, channels, frames) to (batch, frames that come out, taps * channels)."""
    padding = int(layer.padding[0])
    reached = F.pad(x, (padding, padding)).unfold(2, layer.kernel_size[0], layer.stride[0])
    return reached.permute(0, 2, 3, 1).flatten(2)


def _added(layer: nn.Module) -> Tensor:
    """(numbers that enter, outputs): what each adds to what comes out."""
    weight = layer.get_parameter("weight").double()
    return weight.T if weight.ndim == 2 else weight.permute(2, 1, 0).flatten(0, 1)


@torch.no_grad()
def prune(encoder: Encoder, whole: Encoder, run: Callable[[], object]) -> dict[str, float]:
    """Give `encoder` the weights of `whole`, whose blocks are as many and which has all units; by the name of the layer
    that fewer numbers enter the share of the variance of what comes out of it that is lost, mean over its outputs.
    `run` makes `whole` hear the clips."""
    parts = encoder.fewer()
    layers = [whole.get_submodule(part.after) for part in parts]
    moments = [_Moments(len(_added(layer))) for layer in layers]
    hooks = [layer.register_forward_pre_hook(counted) for layer, counted in zip(layers, moments, strict=True)]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    weights = {name: whole.get_parameter(name).detach().clone() for name, _ in encoder.named_parameters()}
    weights["places"] = weights["places"][:: encoder.step]
    lost = {}
    for part, layer, counted in zip(parts, layers, moments, strict=True):
        lost[part.after] = _prune(part, layer, counted, weights)
    encoder.load_state_dict(encoder.state_dict() | weights)
    return lost


def _prune(part: Part, layer: nn.Module, moments: _Moments, weights: dict[str, Tensor]) -> float:
    covariance, mean, adds = moments.covariance(), moments.mean(), _added(layer)
    channels = layer.get_parameter("weight").shape[1]
    taps = len(adds) // channels

    def kept_of(units: Tensor) -> Tensor:
        rows = part.rows(units)
        return torch.cat([rows + tap * channels for tap in range(taps)])

    units = channels // part.numbers
    if math.comb(units, part.kept) <= CHOICES:
        choices = map(torch.tensor, itertools.combinations(range(units), part.kept))
        chosen = min(choices, key=lambda units: _refitted(covariance, adds, kept_of(units))[1])
    else:
        weight = (covariance.diagonal().sqrt() * adds.norm(dim=1)).reshape(taps, units, part.numbers).sum((0, 2))
        chosen = weight.topk(part.kept).indices.sort().values
    kept = kept_of(chosen)
    said, lost = _refitted(covariance, adds, kept)
    part.cut(weights, chosen)
    name = f"{part.after}.weight"
    if weights[name].ndim == 2:
        weights[name] = said.T.float()
    else:
        weights[name] = said.reshape(taps, -1, said.shape[1]).permute(2, 1, 0).float()
    weights[f"{part.after}.bias"] += (mean @ adds - mean[kept] @ said).float()
    return lost


def _refitted(covariance: Tensor, adds: Tensor, kept: Tensor) -> tuple[Tensor, float]:
    """(kept, outputs): what those that are kept must add to say the most of what all said; the share that is lost."""
    inner = covariance[kept][:, kept]
    ridge = RIDGE * covariance.diagonal().mean() * torch.eye(len(kept), dtype=torch.float64)
    said = torch.linalg.solve(inner + ridge, covariance[kept] @ adds)
    # Of the variance: that of all of it, that of what is said now, and what the two have in common.
    variance = ((covariance @ adds) * adds).sum(0).clamp(min=TINY)
    common = ((covariance[kept] @ adds) * said).sum(0)
    lost = variance - 2 * common + ((inner @ said) * said).sum(0)
    return said, float((lost / variance).mean())
