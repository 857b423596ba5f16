"""Confidence intervals over groups."""

import numpy as np
import pytest

from ml.evaluation.metrics import roc_auc
from ml.evaluation.metrics_bootstrap import bootstrap_interval, eer_of
from ml.evaluation.scores import BoolArray, EvaluationInputError, FloatArray
from ml.tests.score_tables import gaussian_scores


def groups_of(n: int, groups: int) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    return np.array([f"g{i * groups // n}" for i in range(n)])


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    score, is_spoof = gaussian_scores(0, 400)
    group = groups_of(400, 20)
    first = bootstrap_interval(eer_of, score, is_spoof, group, seed=1, resamples=200)
    assert first == bootstrap_interval(eer_of, score, is_spoof, group, seed=1, resamples=200)
    assert first != bootstrap_interval(eer_of, score, is_spoof, group, seed=2, resamples=200)


def test_the_interval_holds_the_estimate_and_names_its_groups() -> None:
    score, is_spoof = gaussian_scores(1, 400)
    found = bootstrap_interval(roc_auc, score, is_spoof, groups_of(400, 25), seed=0, resamples=200)
    assert found.low < found.estimate < found.high
    assert found.estimate == roc_auc(score, is_spoof)
    assert (found.groups, found.resamples) == (25, 200)


def test_clips_that_share_their_groups_luck_widen_the_interval() -> None:
    score, is_spoof = gaussian_scores(2, 600)
    shift = np.random.default_rng(2).normal(size=20)[np.arange(600) * 20 // 600]
    by_group = bootstrap_interval(eer_of, score + shift, is_spoof, groups_of(600, 20), seed=0, resamples=300)
    by_clip = bootstrap_interval(eer_of, score + shift, is_spoof, groups_of(600, 600), seed=0, resamples=300)
    assert by_group.high - by_group.low > 1.5 * (by_clip.high - by_clip.low)


def test_the_interval_of_a_mean_is_as_wide_as_theory_says() -> None:
    score, is_spoof = gaussian_scores(6, 1000)

    def mean(values: FloatArray, _: BoolArray) -> float:
        return float(values.mean())

    found = bootstrap_interval(mean, score, is_spoof, groups_of(1000, 1000), seed=0, resamples=2000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * float(score.std()) / 1000**0.5, rel=0.08)


def test_the_95_per_cent_interval_covers_the_truth_about_as_often() -> None:
    truth, covered = 0.158655, 0  # EER of these Gaussians: Phi(-1)
    for seed in range(60):
        score, is_spoof = gaussian_scores(100 + seed, 300)
        found = bootstrap_interval(eer_of, score, is_spoof, groups_of(300, 60), seed=seed, resamples=100)
        covered += found.low <= truth <= found.high
    assert covered >= 50


def test_too_few_groups_are_refused() -> None:
    score, is_spoof = gaussian_scores(3, 100)
    with pytest.raises(EvaluationInputError, match="5 groups"):
        bootstrap_interval(eer_of, score, is_spoof, groups_of(100, 4), seed=0)


def test_a_class_that_stands_in_one_group_alone_is_refused() -> None:
    score, _ = gaussian_scores(4, 500)
    is_spoof = np.arange(500) < 5
    with pytest.raises(EvaluationInputError, match="each class in 5 groups"):
        bootstrap_interval(eer_of, score, is_spoof, groups_of(500, 100), seed=0)


@pytest.mark.parametrize(("level", "resamples"), [(0.0, 10), (1.0, 10), (0.95, 0)])
def test_senseless_settings_are_refused(level: float, resamples: int) -> None:
    score, is_spoof = gaussian_scores(5, 100)
    with pytest.raises(EvaluationInputError):
        bootstrap_interval(eer_of, score, is_spoof, groups_of(100, 10), seed=0, level=level, resamples=resamples)
