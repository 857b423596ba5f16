"""Sharpness-aware minimisation (Foret et al., 2021): the gradient is taken where the loss nearby is worst."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def climbed(members: Iterable[nn.Module], radius: float) -> Iterator[None]:
    """Inside, each member's weights lie `radius` up their gradient; on leaving they are what they were.

    What batch normalisation learns of its running statistics inside stays: it is of the same clips.
    """
    moved: list[tuple[nn.Parameter, torch.Tensor]] = []
    with torch.no_grad():
        for member in members:
            parameters = [p for p in member.parameters() if p.grad is not None]
            norm = torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm()
            for parameter in parameters:
                step = parameter.grad * (radius / (norm + 1e-12))
                moved.append((parameter, parameter.detach().clone()))
                parameter.add_(step)
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, before in moved:
                parameter.copy_(before)
