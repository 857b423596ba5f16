"""Heads on statistics of layers that stay as they are: how one is trained, and what may be changed about it.

    head = train_head(statistics, is_spoof, seed=3)                                  # as they are shipped
    head = train_head(statistics, is_spoof, seed=3, recipe=HeadRecipe(mixup_alpha=0.4))

Training takes a minute at most, so an ingredient can be judged over all training clips, out of fold and with several
seeds (`ml.training.compare_heads`), where a whole network takes hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ml.config import ConfigError
from ml.models.recogniser import StatisticsHead
from ml.training.losses import contrastive_loss, one_class_loss
from ml.training.mixing import partners
from ml.training.sharpness import climbed

LEARNING_RATE, WEIGHT_DECAY, STEPS, BATCH = 1e-3, 0.3, 1_500, 256
DEVIATION_FLOOR = 1e-6  # a statistic that never changes stays finite
UNKNOWN_GROUP = -1
TEACHERS = 1_000  # more than anybody has: no teacher shares its seed with another pupil's
ADVERSARY_SIZE = 64
"""Neurons of the network that guesses the group from the embedding."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HeadRecipe:
    """How a head is trained; the defaults are those of the shipped ones."""

    steps: int = STEPS
    one_class_weight: float = 0.0
    contrastive_weight: float = 0.0
    """Of two losses of the embedding; `ml.training.losses`."""
    mixup_alpha: float = 0.0
    """Statistics of a batch are mixed by Beta(alpha, alpha) (Zhang et al., 2018); 0 switches it off."""
    sharpness_radius: float = 0.0
    """Of sharpness-aware minimisation (Foret et al., 2021); 0 switches it off."""
    averaged_share: float = 0.0
    """The head is the mean of its weights over this last share of the steps (Izmailov et al., 2018); 0: of none."""
    adversary: str = ""
    """`speaker` or `source_set`: a small network guesses it from the embedding, which is trained to leave it guessing
    (gradient reversal; Ganin et al., 2016)."""
    adversary_weight: float = 0.1
    distilled_from: int = 0
    """The head learns the mean answer of as many heads, trained before it, beside the labels (Hinton et al., 2015)."""

    def __post_init__(self) -> None:
        if self.adversary not in ("", "speaker", "source_set"):
            raise ConfigError(f'adversary must be "speaker" or "source_set", not {self.adversary!r}')
        if self.steps < 1 or self.distilled_from < 0:
            raise ConfigError("steps must be 1 or more, distilled_from 0 or more")
        if not 0.0 <= self.averaged_share <= 1.0:
            raise ConfigError("averaged_share must lie between 0 and 1")
        weights = (self.one_class_weight, self.contrastive_weight, self.adversary_weight)
        if min(*weights, self.mixup_alpha, self.sharpness_radius) < 0.0:
            raise ConfigError("weights, mixup_alpha and sharpness_radius must be 0 or more")


class _Drawn(NamedTuple):
    """What one step is made of."""

    inputs: Tensor
    """(batch, statistics)"""
    targets: Tensor
    """(batch,): what is to be said, 0 to 1"""
    labels: Tensor
    """(batch,): 1 is spoof"""
    groups: Tensor | None
    """(batch,)"""


def train_head(
    statistics: NDArray[np.float32],
    is_spoof: NDArray[np.bool_],
    seed: int,
    *,
    embedding: int = 128,
    dropout: float = 0.5,
    recipe: HeadRecipe | None = None,
    drawn: FloatArray | None = None,
    groups: NDArray[np.intp] | None = None,
) -> StatisticsHead:
    """Both classes weigh the same, whatever their numbers.

    `statistics` is (clips, statistics). `drawn` (clips,) is how often each clip is drawn within its class (all alike
    without it), `groups` (clips,) what an adversary guesses, UNKNOWN_GROUP where it is not known.
    """
    recipe = recipe or HeadRecipe()
    training = _HeadTraining(statistics, is_spoof, recipe, drawn, groups)
    if recipe.distilled_from:
        first = TEACHERS * (seed + 1)
        teachers = range(first, first + recipe.distilled_from)
        training.learn_from([training.run(teacher, embedding, dropout) for teacher in teachers])
    return training.run(seed, embedding, dropout)


class _HeadTraining:
    """What heads are trained on; a run a seed."""

    def __init__(
        self,
        statistics: NDArray[np.float32],
        is_spoof: NDArray[np.bool_],
        recipe: HeadRecipe,
        drawn: FloatArray | None,
        groups: NDArray[np.intp] | None,
    ) -> None:
        if recipe.adversary and (groups is None or groups.max() == UNKNOWN_GROUP):
            raise ConfigError(f"an adversary can't guess the {recipe.adversary}: of no clip is it known")
        self.recipe = recipe
        self.inputs = torch.from_numpy(statistics)
        self.mean = torch.from_numpy(statistics.mean(axis=0))
        self.deviation = torch.from_numpy(statistics.std(axis=0) + DEVIATION_FLOOR)
        self.labels = torch.from_numpy(is_spoof).float()
        self.targets = self.labels
        self.groups = torch.from_numpy(groups) if recipe.adversary and groups is not None else None
        self.drawn = None if drawn is None else torch.from_numpy(drawn)
        # Drawn by their weights the classes are as many; otherwise the rarer one counts as much as the other.
        self.spoof_weight = (1.0 - self.labels).sum() / self.labels.sum() if drawn is None else torch.tensor(1.0)

    @torch.no_grad()
    def learn_from(self, teachers: Sequence[StatisticsHead]) -> None:
        """Half of what is to be said is the label, half what the teachers say in the mean."""
        said = torch.stack([torch.sigmoid(teacher(self.inputs)[0]) for teacher in teachers]).mean(0)
        self.targets = (self.labels + said) / 2

    def run(self, seed: int, embedding: int, dropout: float) -> StatisticsHead:
        torch.manual_seed(seed)
        head = StatisticsHead(self.inputs.shape[1], embedding, dropout).train()
        head.get_buffer("mean").copy_(self.mean)
        head.get_buffer("deviation").copy_(self.deviation)
        adversary = None if self.groups is None else _adversary(embedding, int(self.groups.max()) + 1)
        trained = list(head.parameters()) + ([] if adversary is None else list(adversary.parameters()))
        optimiser = torch.optim.AdamW(trained, LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        share = self.recipe.averaged_share
        averaged_steps = max(1, round(share * self.recipe.steps)) if share else 0
        average = torch.optim.swa_utils.AveragedModel(head) if averaged_steps else None
        for step in range(self.recipe.steps):
            drawn = self._draw()
            optimiser.zero_grad()
            self._loss(head, adversary, drawn).backward()  # type: ignore[no-untyped-call]
            if self.recipe.sharpness_radius:
                with climbed([head], self.recipe.sharpness_radius):
                    optimiser.zero_grad()
                    self._loss(head, adversary, drawn).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            if average is not None and step >= self.recipe.steps - averaged_steps:
                average.update_parameters(head)
        if average is not None:
            head.load_state_dict(average.module.state_dict())
        return head.eval()

    def _draw(self) -> _Drawn:
        if self.drawn is None:
            rows = torch.randint(len(self.inputs), (BATCH,))
        else:
            rows = torch.multinomial(self.drawn, BATCH, replacement=True)
        inputs, targets = self.inputs[rows], self.targets[rows]
        if self.recipe.mixup_alpha:
            share, other = partners(len(rows), self.recipe.mixup_alpha)
            inputs = share[:, None] * inputs + (1.0 - share)[:, None] * inputs[other]
            targets = share * targets + (1.0 - share) * targets[other]
        return _Drawn(inputs, targets, self.labels[rows], None if self.groups is None else self.groups[rows])

    def _loss(self, head: StatisticsHead, adversary: nn.Module | None, drawn: _Drawn) -> Tensor:
        recipe = self.recipe
        score, embedding = head(drawn.inputs)
        loss = F.binary_cross_entropy_with_logits(score, drawn.targets, pos_weight=self.spoof_weight)
        if recipe.one_class_weight:
            loss = loss + recipe.one_class_weight * one_class_loss(embedding, drawn.labels)
        if recipe.contrastive_weight:
            loss = loss + recipe.contrastive_weight * contrastive_loss(embedding, drawn.labels)
        if adversary is not None and drawn.groups is not None:
            known = drawn.groups != UNKNOWN_GROUP
            if bool(known.any()):  # of none the mean is no number
                reversed_ = _Reversed.apply(embedding[known], recipe.adversary_weight)  # type: ignore[no-untyped-call]
                loss = loss + F.cross_entropy(adversary(reversed_), drawn.groups[known])
        return loss


def _adversary(embedding: int, groups: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(embedding, ADVERSARY_SIZE), nn.ReLU(), nn.Linear(ADVERSARY_SIZE, groups))


class _Reversed(torch.autograd.Function):
    """Itself on the way there; on the way back the gradient times `-weight`."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradients[0], None


@torch.no_grad()
def joined(heads: Sequence[StatisticsHead], dropout: float) -> StatisticsHead:
    """One head that gives the mean of their logits, their embeddings side by side."""
    first = heads[0]
    whole = StatisticsHead(first.project.in_features, sum(head.project.out_features for head in heads), dropout)
    for name in ("mean", "deviation"):
        whole.get_buffer(name).copy_(first.get_buffer(name))
    whole.project.weight.copy_(torch.cat([head.project.weight for head in heads]))
    whole.project.bias.copy_(torch.cat([head.project.bias for head in heads]))
    whole.score.weight.copy_(torch.cat([head.score.weight for head in heads], dim=1) / len(heads))
    whole.score.bias.copy_(torch.stack([head.score.bias for head in heads]).mean(0))
    return whole.eval()
