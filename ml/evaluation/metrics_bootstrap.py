"""Confidence intervals by drawing whole groups anew.

    interval = bootstrap_interval(eer_of, table.score, table.is_spoof, table.source_repo, seed=1)

Clips of one source repository share speakers, systems and recording chain, so that a bootstrap over clips gives
intervals that are far too narrow. Groups are drawn with replacement (the cluster bootstrap: Field & Welsh, 2007,
"Bootstrapping clustered data"); the interval is the plain percentile one (Efron, 1979).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ml.evaluation.metrics import check_two_classes, equal_error_rate
from ml.evaluation.scores import BoolArray, EvaluationInputError, FloatArray, TextArray

DEFAULT_RESAMPLES = 1000
DEFAULT_LEVEL = 0.95
MIN_GROUPS = 5
"""Groups in which each class must stand: with fewer the draws are nearly all alike, and the interval would only look
like one. It also keeps draws without one of the classes below 1 %; such a draw is made again."""


@dataclass(frozen=True, slots=True)
class Interval:
    estimate: float
    """On the table itself."""
    low: float
    high: float
    level: float
    groups: int
    resamples: int


def eer_of(score: FloatArray, is_spoof: BoolArray) -> float:
    """The equal error rate alone, as a statistic to bootstrap."""
    return equal_error_rate(score, is_spoof)[0]


def enough_groups(is_spoof: BoolArray, group: TextArray) -> bool:
    """Whether each class stands in so many groups that an interval over them means something."""
    return all(len(np.unique(group[rows])) >= MIN_GROUPS for rows in (is_spoof, ~is_spoof))


def bootstrap_interval(
    statistic: Callable[[FloatArray, BoolArray], float],
    score: FloatArray,
    is_spoof: BoolArray,
    group: TextArray,
    *,
    seed: int,
    resamples: int = DEFAULT_RESAMPLES,
    level: float = DEFAULT_LEVEL,
) -> Interval:
    """Interval of `statistic` over draws of groups; the same seed gives the same interval."""
    check_two_classes(score, is_spoof)
    if not 0.0 < level < 1.0 or resamples < 1:
        raise EvaluationInputError("level must lie between 0 and 1, and resamples be positive")
    names, group_of = np.unique(group, return_inverse=True)
    if not enough_groups(is_spoof, group):
        raise EvaluationInputError(
            f"an interval over groups needs each class in {MIN_GROUPS} groups, of {len(names)} there are too few"
        )
    rows_of = [np.flatnonzero(group_of == g) for g in range(len(names))]
    rng = np.random.default_rng(seed)
    found: list[float] = []
    while len(found) < resamples:
        drawn = rng.integers(len(names), size=len(names))
        rows = np.concatenate([rows_of[g] for g in drawn])
        spoof = is_spoof[rows]
        if spoof.all() or not spoof.any():
            continue
        found.append(statistic(score[rows], spoof))
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(statistic(score, is_spoof), float(low), float(high), level, len(names), resamples)
