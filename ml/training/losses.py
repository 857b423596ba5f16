"""What a member of the network is asked for in training: the sum of the terms that the experiment weighs above 0."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ml.config import TrainConfig
from ml.models.heads import Scores
from ml.training.batches import Batch

ONE_CLASS_SHARPNESS = 20.0
ONE_CLASS_NEAR, ONE_CLASS_FAR = (
    0.9,
    0.2,
)  # cosines: bona fide clips at least so near to their centre, spoof ones at most
CONTRASTIVE_TEMPERATURE = 0.1
SMALLEST_SHARE = 0.1  # log odds of 2.2 either way: what a clip of one kind is given


def batch_loss(scores: Scores, batch: Batch, settings: TrainConfig) -> Tensor:
    """Cross-entropy of the window's score, plus, as far as they are weighed: that of the frames whose label is known,
    the order within the pairs, one-class and contrastive losses of the embedding."""
    smooth = settings.label_smoothing
    loss = F.binary_cross_entropy_with_logits(scores.score, batch.labels * (1 - 2 * smooth) + smooth)
    if scores.frame_scores is not None:
        known = ~torch.isnan(batch.frame_labels)
        frames = scores.frame_scores
        if settings.relative_frames:
            frames = frames + log_odds_of_share(batch.frame_labels)
        frame_loss = F.binary_cross_entropy_with_logits(frames[known], batch.frame_labels[known])
        loss = loss + settings.frame_loss_weight * frame_loss
    if settings.rank_loss_weight and bool(batch.paired.any()):
        loss = loss + settings.rank_loss_weight * rank_loss(scores.score, batch.paired)
    if settings.one_class_weight:
        loss = loss + settings.one_class_weight * one_class_loss(scores.embedding, batch.labels)
    if settings.contrastive_weight:
        loss = loss + settings.contrastive_weight * contrastive_loss(scores.embedding, batch.labels)
    return loss


def log_odds_of_share(frame_labels: Tensor) -> Tensor:
    """(batch, frames) of 0, 1 and NaN to (batch, 1): of the frames that are known, how many are 1."""
    share = frame_labels.nanmean(1, keepdim=True).clamp(SMALLEST_SHARE, 1.0 - SMALLEST_SHARE)
    return torch.logit(share)


def rank_loss(score: Tensor, paired: Tensor) -> Tensor:
    """How far each spoof clip of a pair is from scoring above its bona fide one, whatever both score.

    RankNet's loss (Burges et al., 2005). `score` (batch,) holds the bona fide half first; `paired` is (batch / 2,).
    """
    bonafide, spoof = score.chunk(2)
    return F.softplus((bonafide - spoof)[paired]).mean()


def one_class_loss(embedding: Tensor, labels: Tensor) -> Tensor:
    """Bona fide clips lie near one direction, spoof ones anywhere else: OC-softmax (Zhang et al., 2021), with the mean
    of the batch's bona fide directions in the place of a learnt centre."""
    direction = F.normalize(embedding, dim=1)
    is_spoof = labels > 0.5
    centre = F.normalize(direction[~is_spoof].mean(0), dim=0)
    cosine = direction @ centre
    violation = torch.where(is_spoof, cosine - ONE_CLASS_FAR, ONE_CLASS_NEAR - cosine)
    return F.softplus(ONE_CLASS_SHARPNESS * violation).mean() / ONE_CLASS_SHARPNESS


def contrastive_loss(embedding: Tensor, labels: Tensor) -> Tensor:
    """Clips of a class nearer to each other than to the other class (Khosla et al., 2020, the mean outside the log).

    A copy lies in the batch beside its original, so that the two are drawn apart although all but the synthesis is
    alike.
    """
    direction = F.normalize(embedding, dim=1)
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    similarity = (direction @ direction.T / CONTRASTIVE_TEMPERATURE).masked_fill(itself, -torch.inf)
    log_share = similarity - torch.logsumexp(similarity, dim=1, keepdim=True)
    is_spoof = labels > 0.5
    alike = (is_spoof[:, None] == is_spoof[None, :]) & ~itself
    return -(log_share.masked_fill(~alike, 0.0).sum(1) / alike.sum(1)).mean()
