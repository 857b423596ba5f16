"""Exponential moving average of a network's weights: steadier on unseen systems than the last step's."""

import copy

import torch

from ml.models import SpoofNetwork


class WeightAverage:
    def __init__(self, network: SpoofNetwork, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: SpoofNetwork, step: int) -> None:
        """Take in the weights after `step` steps; early on the average follows more quickly."""
        decay = min(self.decay, (1 + step) / (10 + step))
        source = network.state_dict()
        for name, averaged in self.network.state_dict().items():
            value = source[name]
            if averaged.dtype.is_floating_point:
                averaged.lerp_(value.to(averaged.dtype), 1.0 - decay)
            else:
                averaged.copy_(value)
