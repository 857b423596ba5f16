"""Blocks of a borrowed encoder with fewer neurons, which say nearly what they said with all.

    prune(encoder, whole, run)     # `run` gives some hundred training clips to `whole`

Of the neurons between the two layers of a block those are kept whose output varies most, times the length of what each
adds. What the others said is then said by those that were kept, as far as least squares over the clips' frames can
(the reconstruction of He et al., 2017, ICCV, for one layer). Nothing is learnt step by step: an encoder that was taught
to repeat the whole one told synthesis from speech no better (docs/experiments.md, twelfth round).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.models.recogniser import Block, Encoder

RIDGE = 1e-4  # of the mean of their variances: neurons that say the same don't cancel each other with huge weights


class _Moments:
    """Of what the neurons of a block say, over all frames that it is given."""

    def __init__(self, neurons: int) -> None:
        self.frames = 0
        self.sums = torch.zeros(neurons, dtype=torch.float64)
        self.products = torch.zeros(neurons, neurons, dtype=torch.float64)

    def __call__(self, _module: nn.Module, _given: tuple[Tensor], wide: Tensor) -> None:
        said = F.gelu(wide).flatten(0, -2).double()
        self.frames += len(said)
        self.sums += said.sum(0)
        self.products += said.T @ said

    def mean(self) -> Tensor:
        return self.sums / self.frames

    def covariance(self) -> Tensor:
        mean = self.mean()
        found = self.products / self.frames - mean[:, None] * mean[None]
        found.diagonal().clamp_(min=0.0)  # of a neuron that never changes rounding can leave less
        return found


@torch.no_grad()
def prune(encoder: Encoder, whole: Encoder, run: Callable[[], object]) -> list[float]:
    """Give `encoder` the weights of `whole`, whose blocks are as many and have more neurons; of each block the share of
    the variance of what its neurons add that is lost, mean over the channels. `run` makes `whole` hear the clips."""
    wides = [whole.get_submodule(f"blocks.{number}.wide") for number in range(len(encoder.blocks))]
    moments = [_Moments(whole.hidden) for _ in wides]
    hooks = [wide.register_forward_hook(counted) for wide, counted in zip(wides, moments, strict=True)]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    encoder.take(whole.state_dict())
    return [
        _prune(block, full, counted)  # type: ignore[arg-type]  # a ModuleList holds modules
        for block, full, counted in zip(encoder.blocks, whole.blocks, moments, strict=True)
    ]


def _prune(block: Block, whole: Block, moments: _Moments) -> float:
    covariance, mean = moments.covariance(), moments.mean()
    adds = whole.narrow.weight.double().T  # (neurons, width)
    weight = covariance.diagonal().sqrt() * adds.norm(dim=1)
    kept = weight.topk(block.wide.out_features).indices.sort().values
    inner = covariance[kept][:, kept]
    ridge = RIDGE * covariance.diagonal().mean() * torch.eye(len(kept), dtype=torch.float64)
    said = torch.linalg.solve(inner + ridge, covariance[kept] @ adds)
    block.wide.weight.copy_(whole.wide.weight[kept])
    block.wide.bias.copy_(whole.wide.bias[kept])
    block.narrow.weight.copy_(said.T)
    block.narrow.bias.copy_(whole.narrow.bias + mean @ adds - mean[kept] @ said)
    # Of the variance: that of all of it, that of what is said now, and what the two have in common.
    variance = ((covariance @ adds) * adds).sum(0)
    common = ((covariance[kept] @ adds) * said).sum(0)
    lost = variance - 2 * common + ((inner @ said) * said).sum(0)
    return float((lost / variance).mean())
