"""Calibration figures against their definitions, worked in plain Python."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.evaluation.metrics_calibration import (
    Binning,
    brier,
    class_weights,
    cllr,
    cllr_cal,
    expected_calibration_error,
    min_cllr,
    negative_log_likelihood,
    optimal_probabilities,
    reliability,
)
from ml.evaluation.scores import BoolArray, EvaluationInputError, FloatArray
from ml.tests.score_tables import UNTIMED, gaussian_scores

BINNINGS: tuple[Binning, Binning] = ("equal_mass", "equal_width")


def both_classes() -> st.SearchStrategy[tuple[FloatArray, BoolArray]]:
    side = st.lists(st.integers(-12, 12), min_size=1, max_size=25)
    return st.tuples(side, side).map(
        lambda sides: (
            np.array(sides[0] + sides[1], dtype=np.float64) / 2,
            np.array([True] * len(sides[0]) + [False] * len(sides[1])),
        )
    )


def sigmoid(x: FloatArray) -> FloatArray:
    return 1.0 / (1.0 + np.exp(-x))


@UNTIMED
@given(both_classes())
def test_cllr_agrees_with_its_definition(data: tuple[FloatArray, BoolArray]) -> None:
    llr, is_spoof = data
    of_spoof = [math.log2(1 + math.exp(-x)) for x in llr[is_spoof]]
    of_bonafide = [math.log2(1 + math.exp(x)) for x in llr[~is_spoof]]
    expected = 0.5 * (sum(of_spoof) / len(of_spoof) + sum(of_bonafide) / len(of_bonafide))
    assert cllr(llr, is_spoof) == pytest.approx(expected, abs=1e-10)


def test_cllr_of_knowing_nothing_is_one_bit() -> None:
    assert cllr(np.zeros(5), np.array([True, False, False, True, True])) == pytest.approx(1.0)


def test_cllr_worked_by_hand() -> None:
    # Odds of 3 for what was so, everywhere: log2(1 + 1/3) = 0.4150 bits.
    llr = math.log(3) * np.array([1.0, 1.0, -1.0])
    assert cllr(llr, np.array([True, True, False])) == pytest.approx(0.4150, abs=0.5e-4)


def brute_force_min_cllr(score: FloatArray, is_spoof: BoolArray) -> float:
    """Isotonic regression by its min-max formula over all intervals of tied scores; no pooling anywhere."""
    values = sorted(set(score.tolist()))
    spoof = [sum(bool(y) for x, y in zip(score, is_spoof, strict=True) if x == v) / is_spoof.sum() for v in values]
    human = [
        sum(not y for x, y in zip(score, is_spoof, strict=True) if x == v) / (~is_spoof).sum() for v in values
    ]
    m = len(values)

    def share(a: int, b: int) -> float:
        s, h = sum(spoof[a : b + 1]), sum(human[a : b + 1])
        return float(s / (s + h))

    loss = 0.0
    for i in range(m):
        p = max(min(share(a, b) for b in range(i, m)) for a in range(i + 1))
        if spoof[i]:
            loss -= 0.5 * spoof[i] * math.log2(p)
        if human[i]:
            loss -= 0.5 * human[i] * math.log2(1 - p)
    return loss


@UNTIMED
@given(both_classes())
def test_min_cllr_agrees_with_a_brute_force_isotonic_fit(data: tuple[FloatArray, BoolArray]) -> None:
    assert min_cllr(*data) == pytest.approx(brute_force_min_cllr(*data), abs=0.5e-4)


@UNTIMED
@given(both_classes())
def test_cllr_is_never_below_min_cllr(data: tuple[FloatArray, BoolArray]) -> None:
    assert 0.0 <= min_cllr(*data) <= 1.0 + 1e-12
    assert cllr_cal(*data) >= -1e-9


@UNTIMED
@given(both_classes(), st.sampled_from([0.01, 1.0, 5.0]))
def test_a_rising_map_leaves_min_cllr_alone(data: tuple[FloatArray, BoolArray], slope: float) -> None:
    score, is_spoof = data
    assert min_cllr(slope * score**3 + score - 4.0, is_spoof) == pytest.approx(
        min_cllr(score, is_spoof), abs=1e-12
    )


def test_min_cllr_of_clean_separation_is_zero_and_of_reversed_scores_one() -> None:
    score, is_spoof = np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, False, True, True])
    assert min_cllr(score, is_spoof) == 0.0
    assert min_cllr(-score, is_spoof) == pytest.approx(1.0)


def test_min_cllr_tells_scores_apart_that_nearly_tie() -> None:
    score = 1.0 + 1e-15 * np.array([0.0, 2.0, 4.0, 6.0])
    assert min_cllr(score, np.array([False, False, True, True])) == 0.0


def test_optimal_probabilities_rise_with_the_score() -> None:
    score, is_spoof = gaussian_scores(1, 300)
    assert (np.diff(optimal_probabilities(score, is_spoof)[np.argsort(score)]) >= -1e-12).all()


def test_true_llrs_cost_nothing_for_calibration_in_the_long_run() -> None:
    score, is_spoof = gaussian_scores(2, 50_000)
    assert cllr_cal(2 * score, is_spoof) == pytest.approx(0.0, abs=0.005)


def test_ece_worked_by_hand() -> None:
    # Table's own mixture, two bins: said 0.2 and 0.2, so 0.5; said 0.9 and 0.7, so 1.0.
    p, is_spoof = np.array([0.2, 0.2, 0.9, 0.7]), np.array([False, True, True, True])
    for binning in BINNINGS:
        ece = expected_calibration_error(p, is_spoof, bins=2, binning=binning, prior=None)
        assert ece == pytest.approx(0.5 * 0.3 + 0.5 * 0.2)


@UNTIMED
@given(both_classes(), st.integers(1, 20), st.sampled_from(BINNINGS), st.sampled_from([None, 0.5, 0.1]))
def test_ece_lies_between_zero_and_one(
    data: tuple[FloatArray, BoolArray], bins: int, binning: Binning, prior: float | None
) -> None:
    ece = expected_calibration_error(sigmoid(data[0]), data[1], bins=bins, binning=binning, prior=prior)
    assert 0.0 <= ece <= 1.0


@pytest.mark.parametrize("binning", BINNINGS)
def test_ece_of_the_truth_is_small_whatever_the_mixture_of_the_table(binning: Binning) -> None:
    score, is_spoof = gaussian_scores(3, 40_000, share_spoof=0.9)
    p = sigmoid(2 * score)
    assert expected_calibration_error(p, is_spoof, binning=binning) < 0.015
    assert expected_calibration_error(p, is_spoof, binning=binning, prior=None) > 0.05


def test_equal_mass_bins_hold_equal_mass_and_keep_ties_together() -> None:
    p = np.array([0.1] * 50 + [0.2, 0.3, 0.4, 0.5] * 25)
    is_spoof = np.arange(150) % 2 == 0
    found = reliability(p, is_spoof, bins=3, prior=None)
    assert found.count.tolist() == [50, 50, 50]
    assert found.mean_p_fake[0] == pytest.approx(0.1)


def test_equal_mass_bins_split_distinct_probabilities_evenly() -> None:
    found = reliability(np.linspace(0.05, 0.95, 10), np.arange(10) % 2 == 0, bins=5)
    assert found.count.tolist() == [2.0] * 5


def test_probabilities_of_zero_and_one_have_a_bin() -> None:
    found = reliability(np.array([0.0, 1.0]), np.array([False, True]), binning="equal_width")
    assert found.share_spoof.tolist() == [0.0, 1.0]


def test_brier_worked_by_hand() -> None:
    p, is_spoof = np.array([0.8, 0.4, 0.4]), np.array([True, True, False])
    assert brier(p, is_spoof, prior=None) == pytest.approx((0.04 + 0.36 + 0.16) / 3)
    assert brier(p, is_spoof) == pytest.approx(0.5 * 0.2 + 0.5 * 0.16)


def test_nll_is_cllr_in_natural_units_and_takes_the_tables_mixture_on_request() -> None:
    llr, is_spoof = gaussian_scores(4, 200, share_spoof=0.8)
    assert negative_log_likelihood(llr, is_spoof) == pytest.approx(cllr(llr, is_spoof) * math.log(2))
    p = sigmoid(llr)
    plain = float(np.mean(-np.log(np.where(is_spoof, p, 1 - p))))
    assert negative_log_likelihood(llr, is_spoof, balanced=False) == pytest.approx(plain)


def test_nll_of_a_wrong_certainty_is_finite() -> None:
    assert negative_log_likelihood(np.array([-800.0, 0.0]), np.array([True, False])) == pytest.approx(
        400.0, abs=1.0
    )


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.2])
def test_an_impossible_prior_is_refused(prior: float) -> None:
    with pytest.raises(EvaluationInputError, match="prior"):
        class_weights(np.array([True, False]), prior)


def test_raw_scores_given_as_probabilities_are_refused() -> None:
    with pytest.raises(EvaluationInputError, match="calibrate"):
        brier(np.array([-2.0, 3.0]), np.array([False, True]))


def test_one_class_alone_is_a_clear_error() -> None:
    for figure in (cllr, min_cllr, brier, expected_calibration_error, negative_log_likelihood):
        with pytest.raises(EvaluationInputError, match="both classes"):
            figure(np.array([0.5, 0.5]), np.array([True, True]))
