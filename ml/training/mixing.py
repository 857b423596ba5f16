"""Mixup (Zhang et al., 2018): clips and labels of a batch, mixed pair by pair."""

import torch
from torch import Tensor

from ml.training.batches import Batch


def partners(size: int, alpha: float) -> tuple[Tensor, Tensor]:
    """For each of `size` clips its own share of the mixture, (size,) 0.5 to 1, and which clip it is mixed with.

    Draws from torch's own generator.
    """
    share = torch.distributions.Beta(alpha, alpha).sample((size,))
    return torch.maximum(share, 1.0 - share), torch.randperm(size)


def mixed(batch: Batch, alpha: float) -> Batch:
    """Each clip mixed with one drawn from its batch; the larger share is its own, so that its pair stays its pair.

    Frame labels that are not known on either side are not known in the mixture. Draws from torch's own generator.
    """
    device = batch.waveforms.device
    share, other = (drawn.to(device) for drawn in partners(len(batch.labels), alpha))
    own = share[:, None]
    return Batch(
        waveforms=own * batch.waveforms + (1 - own) * batch.waveforms[other],
        labels=share * batch.labels + (1 - share) * batch.labels[other],
        frame_labels=own * batch.frame_labels + (1 - own) * batch.frame_labels[other],
        paired=batch.paired,
    )
