"""Thresholds and what they come to."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from earwitness.finding import Verdict
from earwitness.policy import Thresholds, decide
from ml.evaluation.calibrate_thresholds import (
    MIN_HALF_BAND,
    ThresholdGoal,
    choose_thresholds,
    outcome_of,
    upper_bound_of_rate,
)
from ml.evaluation.scores import BoolArray, EvaluationInputError, FloatArray
from ml.tests.score_tables import UNTIMED, gaussian_scores


def probabilities(seed: int, n: int, factor: float = 2.0) -> tuple[FloatArray, BoolArray]:
    score, is_spoof = gaussian_scores(seed, n)
    return 1.0 / (1.0 + np.exp(-factor * score)), is_spoof


@settings(UNTIMED, max_examples=40)
@given(st.integers(0, 1000), st.sampled_from([0.02, 0.05, 0.1]), st.sampled_from([0.02, 0.05, 0.1]))
def test_stated_rates_are_held_with_the_stated_certainty(seed: int, high: float, low: float) -> None:
    p, is_spoof = probabilities(seed, 1200)
    t = choose_thresholds(p, is_spoof, ThresholdGoal(high, low, certainty=0.95)).thresholds
    wrongly_deepfake = int(np.sum(p[~is_spoof] >= t.t_high))
    wrongly_authentic = int(np.sum(p[is_spoof] <= t.t_low))
    # Were the true rate as bad as the goal, so few errors would be seen in at most 5 % of tables.
    assert binom.cdf(wrongly_deepfake, int((~is_spoof).sum()), high) <= 0.05 + 1e-9
    assert binom.cdf(wrongly_authentic, int(is_spoof.sum()), low) <= 0.05 + 1e-9


def test_the_rates_hold_on_clips_that_were_not_used_to_choose() -> None:
    p, is_spoof = probabilities(1, 2000)
    fresh, fresh_is_spoof = probabilities(2, 100_000)
    t = choose_thresholds(p, is_spoof, ThresholdGoal(0.02, 0.05)).thresholds
    assert np.mean(fresh[~fresh_is_spoof] >= t.t_high) <= 0.02
    assert np.mean(fresh[fresh_is_spoof] <= t.t_low) <= 0.05


def test_the_band_is_no_wider_than_the_goal_asks() -> None:
    p, is_spoof = probabilities(3, 1000)
    goal = ThresholdGoal(0.02, 0.05, certainty=None)
    t = choose_thresholds(p, is_spoof, goal).thresholds
    next_lower = p[p < t.t_high].max()
    assert np.mean(p[~is_spoof] >= next_lower) > 0.02
    next_higher = p[p > t.t_low].min()
    assert np.mean(p[is_spoof] <= next_higher) > 0.05


def test_verdicts_by_the_policy_make_the_outcome_reported() -> None:
    p, is_spoof = probabilities(4, 600)
    chosen = choose_thresholds(p, is_spoof, ThresholdGoal(0.05, 0.05))
    verdicts = [decide(float(x), chosen.thresholds) for x in p]
    assert set(verdicts) == {Verdict.AUTHENTIC, Verdict.SUSPICIOUS, Verdict.DEEPFAKE}
    assert chosen.outcome.suspicious_share == pytest.approx(verdicts.count(Verdict.SUSPICIOUS) / len(p))
    wrong = sum(
        verdict == (Verdict.AUTHENTIC if spoof else Verdict.DEEPFAKE)
        for verdict, spoof in zip(verdicts, is_spoof, strict=True)
    )
    decided = len(p) - verdicts.count(Verdict.SUSPICIOUS)
    assert chosen.outcome.wrong_among_decided == pytest.approx(wrong / decided)


@pytest.mark.parametrize(
    ("p", "verdict"),
    [
        (0.0, Verdict.AUTHENTIC),
        (0.2, Verdict.AUTHENTIC),
        (0.2001, Verdict.SUSPICIOUS),
        (0.5, Verdict.SUSPICIOUS),
        (0.8999, Verdict.SUSPICIOUS),
        (0.9, Verdict.DEEPFAKE),
        (1.0, Verdict.DEEPFAKE),
    ],
)
def test_both_thresholds_belong_to_their_verdicts_and_the_band_lies_between(p: float, verdict: Verdict) -> None:
    t = Thresholds(t_low=0.2, t_high=0.9)
    assert decide(p, t) == verdict
    outcome = outcome_of(np.array([p]), np.array([True]), t)
    assert outcome.spoof_called_deepfake == (verdict is Verdict.DEEPFAKE)
    assert outcome.spoof_called_authentic == (verdict is Verdict.AUTHENTIC)
    assert outcome.suspicious_share == (verdict is Verdict.SUSPICIOUS)


def test_outcome_counted_by_hand() -> None:
    p = np.array([0.05, 0.3, 0.95, 0.1, 0.5, 0.99, 0.92])
    is_spoof = np.array([False, False, False, True, True, True, True])
    found = outcome_of(p, is_spoof, Thresholds(0.2, 0.9))
    assert found.bonafide_called_deepfake == pytest.approx(1 / 3)
    assert found.bonafide_called_authentic == pytest.approx(1 / 3)
    assert found.spoof_called_deepfake == pytest.approx(2 / 4)
    assert found.spoof_called_authentic == pytest.approx(1 / 4)
    assert found.decided_share == pytest.approx(5 / 7)
    assert found.wrong_among_decided == pytest.approx(2 / 5)


def test_an_abstention_is_suspicious_whatever_the_probability() -> None:
    p, is_spoof = np.array([0.99, 0.01, 0.5]), np.array([True, False, True])
    found = outcome_of(p, is_spoof, Thresholds(0.2, 0.9), abstained=np.array([True, False, False]))
    assert (found.spoof_called_deepfake, found.bonafide_called_authentic) == (0.0, 1.0)
    assert found.suspicious_share == pytest.approx(2 / 3)


def test_a_table_where_nothing_is_decided_has_no_wrong_decisions() -> None:
    found = outcome_of(np.array([0.5, 0.5]), np.array([True, False]), Thresholds(0.2, 0.9))
    assert (found.decided_share, found.wrong_among_decided) == (0.0, 0.0)


def test_a_perfect_detector_keeps_a_band_around_one_half() -> None:
    p = np.concatenate((np.linspace(0.01, 0.3, 300), np.linspace(0.7, 0.99, 300)))
    t = choose_thresholds(p, np.arange(600) >= 300, ThresholdGoal()).thresholds
    assert [t.t_low, t.t_high] == pytest.approx([0.5 - MIN_HALF_BAND, 0.5 + MIN_HALF_BAND])


def test_too_few_clips_for_the_promise_are_refused() -> None:
    p, is_spoof = probabilities(5, 200)
    with pytest.raises(
        EvaluationInputError, match=r"bona fide clips are too few to promise an error rate of 2\.0%"
    ):
        choose_thresholds(p, is_spoof, ThresholdGoal(0.02, 0.05, certainty=0.95))


def test_bad_cases_tied_at_the_cap_are_refused() -> None:
    p, is_spoof = probabilities(6, 1000)
    capped = np.minimum(p, np.quantile(p[~is_spoof], 0.9))
    with pytest.raises(EvaluationInputError, match="DEEPFAKE could never be said"):
        choose_thresholds(capped, is_spoof, ThresholdGoal())


def test_one_class_alone_is_a_clear_error() -> None:
    with pytest.raises(EvaluationInputError, match="both classes"):
        choose_thresholds(np.full(200, 0.5), np.ones(200, dtype=bool), ThresholdGoal())


@pytest.mark.parametrize(
    ("errors", "n", "expected"),
    [
        (0, 100, 1 - 0.05 ** (1 / 100)),  # the closed form for no error
        (0, 59, 0.0495),  # the "rule of 59": the least n for 5 % at 95 %
        (100, 100, 1.0),
    ],
)
def test_upper_bound_of_a_rate_has_its_known_values(errors: int, n: int, expected: float) -> None:
    assert upper_bound_of_rate(errors, n, 0.95) == pytest.approx(expected, abs=1e-4)


@UNTIMED
@given(st.integers(0, 30), st.integers(31, 500), st.floats(0.5, 0.99))
def test_upper_bound_solves_the_binomial_equation(errors: int, n: int, certainty: float) -> None:
    bound = upper_bound_of_rate(errors, n, certainty)
    assert binom.cdf(errors, n, bound) == pytest.approx(1 - certainty, abs=1e-6)


def test_the_reason_names_both_goals_and_the_clips() -> None:
    p, is_spoof = probabilities(7, 1000)
    chosen = choose_thresholds(p, is_spoof, ThresholdGoal(0.02, 0.04))
    for part in ("2.0% of bona fide", "4.0% of spoof", f"on {(~is_spoof).sum()} clips", "95% upper bound"):
        assert part in chosen.reason
    assert chosen.bonafide_called_deepfake_at_most <= 0.02
    assert chosen.spoof_called_authentic_at_most <= 0.04


@pytest.mark.parametrize(
    "wrong", [(0.0, 0.05, 0.95), (0.02, 1.0, 0.95), (0.02, 0.05, 1.0), (math.nan, 0.05, None)]
)
def test_senseless_goals_are_refused(wrong: tuple[float, float, float | None]) -> None:
    with pytest.raises(EvaluationInputError):
        ThresholdGoal(*wrong[:2], certainty=wrong[2])
