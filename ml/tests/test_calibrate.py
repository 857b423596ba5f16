"""The fit of one calibration line."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from ml.evaluation.calibrate import MIN_CLIPS_PER_CLASS, fit_affine, fit_temperature
from ml.evaluation.metrics_calibration import cllr, expected_calibration_error, min_cllr
from ml.evaluation.scores import EvaluationInputError, FloatArray
from ml.tests.score_tables import UNTIMED, gaussian_scores


def sigmoid(llr: FloatArray) -> FloatArray:
    return 1.0 / (1.0 + np.exp(-llr))


def test_the_fit_finds_the_true_likelihood_ratio_again() -> None:
    score, is_spoof = gaussian_scores(0, 40_000)
    line = fit_affine(5.0 * score + 3.0, is_spoof)  # true llr = 2 * score
    assert line.slope == pytest.approx(2.0 / 5.0, rel=0.03)
    assert line.intercept == pytest.approx(-6.0 / 5.0, rel=0.05)


def test_the_fit_does_not_depend_on_how_much_spoof_the_table_holds() -> None:
    score, is_spoof = gaussian_scores(1, 60_000, share_spoof=0.95)
    line = fit_affine(score, is_spoof)
    assert line.slope == pytest.approx(2.0, rel=0.05)
    assert line.intercept == pytest.approx(0.0, abs=0.06)


def test_the_fit_agrees_with_weighted_logistic_regression() -> None:
    score, is_spoof = gaussian_scores(2, 5000, share_spoof=0.7)
    line = fit_affine(score, is_spoof)
    independent = LogisticRegression(C=1e9, class_weight="balanced", tol=1e-10).fit(score[:, None], is_spoof)
    assert line.slope == pytest.approx(
        float(independent.coef_[0, 0]), rel=1e-2
    )  # Platt targets pull it in a little
    assert line.intercept == pytest.approx(float(independent.intercept_[0]), abs=0.02)


def test_the_temperature_fit_finds_the_factor_and_moves_nothing() -> None:
    score, is_spoof = gaussian_scores(3, 40_000)
    line = fit_temperature(6.0 * score, is_spoof)  # three times too sure
    assert 1.0 / line.slope == pytest.approx(3.0, rel=0.03)
    assert line.intercept == 0.0


@settings(UNTIMED, max_examples=25)
@given(st.floats(0.2, 0.5) | st.floats(2.0, 8.0), st.floats(-3.0, 3.0), st.integers(0, 5))
def test_calibration_improves_ece_on_distorted_logits(factor: float, shift: float, seed: int) -> None:
    score, is_spoof = gaussian_scores(seed, 4000)
    train = np.arange(4000) < 2000
    distorted = factor * 2.0 * score + shift
    line = fit_affine(distorted[train], is_spoof[train])
    before = expected_calibration_error(sigmoid(distorted[~train]), is_spoof[~train])
    after = expected_calibration_error(sigmoid(line.llr(distorted[~train])), is_spoof[~train])
    assert after < before


@settings(UNTIMED, max_examples=25)
@given(st.floats(0.05, 0.6) | st.floats(1.6, 10.0), st.integers(0, 5))
def test_temperature_scaling_improves_ece_on_logits_too_sure_or_too_timid(factor: float, seed: int) -> None:
    score, is_spoof = gaussian_scores(seed, 4000)
    train = np.arange(4000) < 2000
    distorted = factor * 2.0 * score
    line = fit_temperature(distorted[train], is_spoof[train])
    before = expected_calibration_error(sigmoid(distorted[~train]), is_spoof[~train])
    after = expected_calibration_error(sigmoid(line.llr(distorted[~train])), is_spoof[~train])
    assert after < before


def test_the_fitted_llrs_cost_hardly_more_than_the_best_possible() -> None:
    score, is_spoof = gaussian_scores(4, 20_000)
    llr = fit_affine(7.0 * score - 2.0, is_spoof).llr(7.0 * score - 2.0)
    assert cllr(llr, is_spoof) - min_cllr(llr, is_spoof) < 0.01


def test_the_affine_fit_is_never_worse_than_the_temperature_fit_on_its_own_table() -> None:
    score, is_spoof = gaussian_scores(5, 2000)
    score = score + 1.0
    affine, temperature = fit_affine(score, is_spoof), fit_temperature(score, is_spoof)
    assert cllr(affine.llr(score), is_spoof) < cllr(temperature.llr(score), is_spoof)


def test_cleanly_separated_scores_give_a_finite_line() -> None:
    score = np.concatenate((np.linspace(-3, -1, 50), np.linspace(1, 3, 50)))
    line = fit_affine(score, np.arange(100) >= 50)
    assert 0.0 < line.slope < 50.0


@pytest.mark.parametrize("fit", [fit_affine, fit_temperature])
def test_scores_that_point_the_wrong_way_are_refused(fit: object) -> None:
    score, is_spoof = gaussian_scores(6, 500)
    assert callable(fit)
    with pytest.raises(EvaluationInputError, match="wrong way"):
        fit(-score, is_spoof)


def test_equal_scores_are_refused() -> None:
    with pytest.raises(EvaluationInputError, match="all scores are equal"):
        fit_affine(np.ones(40), np.arange(40) < 20)


def test_too_few_clips_of_a_class_are_refused() -> None:
    score, _ = gaussian_scores(7, 100)
    with pytest.raises(EvaluationInputError, match="hold out more"):
        fit_affine(score, np.arange(100) < MIN_CLIPS_PER_CLASS - 1)
