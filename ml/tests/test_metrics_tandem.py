"""The tandem cost against a literal re-derivation from the two evaluation plans, in their polarity."""

import numpy as np
import pytest

from ml.evaluation.metrics_tandem import AsvErrorRates, asv_error_rates, min_tdcf_2019, min_tdcf_2021
from ml.evaluation.scores import BoolArray, EvaluationInputError, FloatArray
from ml.tests.score_tables import gaussian_scores

ASV = AsvErrorRates(target_rejected=0.025, nontarget_accepted=0.03, spoof_accepted=0.7)
P_SPOOF, P_TAR, P_NON = 0.05, 0.95 * 0.99, 0.95 * 0.01
FOUR_DIGITS = 0.5e-4


def cm_points(score: FloatArray, is_spoof: BoolArray) -> list[tuple[float, float]]:
    """(P_miss_cm, P_fa_cm) for every threshold on bona fide scores."""
    bonafide, spoof = -score[~is_spoof], -score[is_spoof]
    thresholds = [-np.inf, *np.unique(-score)]
    return [(float(np.mean(bonafide <= t)), float(np.mean(spoof > t))) for t in thresholds]


def literal_2019(score: FloatArray, is_spoof: BoolArray, asv: AsvErrorRates) -> float:
    c_miss_asv, c_fa_asv, c_miss_cm, c_fa_cm = 1.0, 10.0, 1.0, 10.0
    p_miss_spoof_asv = 1.0 - asv.spoof_accepted
    c1 = P_TAR * (c_miss_cm - c_miss_asv * asv.target_rejected) - P_NON * c_fa_asv * asv.nontarget_accepted
    c2 = c_fa_cm * P_SPOOF * (1.0 - p_miss_spoof_asv)
    return min((c1 * miss + c2 * fa) / min(c1, c2) for miss, fa in cm_points(score, is_spoof))


def literal_2021(score: FloatArray, is_spoof: BoolArray, asv: AsvErrorRates) -> float:
    c_miss, c_fa, c_fa_spoof = 1.0, 10.0, 10.0
    c0 = P_TAR * c_miss * asv.target_rejected + P_NON * c_fa * asv.nontarget_accepted
    c1 = P_TAR * c_miss - c0
    c2 = P_SPOOF * c_fa_spoof * asv.spoof_accepted
    return min((c0 + c1 * miss + c2 * fa) / (c0 + min(c1, c2)) for miss, fa in cm_points(score, is_spoof))


@pytest.mark.parametrize("seed", range(3))
def test_both_versions_agree_with_their_definitions(seed: int) -> None:
    score, is_spoof = gaussian_scores(seed, 250)
    assert min_tdcf_2019(score, is_spoof, ASV) == pytest.approx(
        literal_2019(score, is_spoof, ASV), abs=FOUR_DIGITS
    )
    assert min_tdcf_2021(score, is_spoof, ASV) == pytest.approx(
        literal_2021(score, is_spoof, ASV), abs=FOUR_DIGITS
    )


def test_a_perfect_detector_costs_nothing_in_2019_and_the_verifications_own_errors_in_2021() -> None:
    score, is_spoof = np.array([-2.0, -1.0, 1.0, 2.0]), np.array([False, False, True, True])
    assert min_tdcf_2019(score, is_spoof, ASV) == 0.0
    own = 0.9405 * 0.025 + 0.0095 * 10 * 0.03  # 0.0263625
    assert min_tdcf_2021(score, is_spoof, ASV) == pytest.approx(own / (own + 0.05 * 10 * 0.7))


def test_a_useless_detector_costs_one() -> None:
    score, is_spoof = np.zeros(4), np.array([True, False, True, False])
    assert min_tdcf_2019(score, is_spoof, ASV) == pytest.approx(1.0)
    assert min_tdcf_2021(score, is_spoof, ASV) == pytest.approx(1.0)


def test_a_rising_map_changes_neither() -> None:
    score, is_spoof = gaussian_scores(7, 200)
    for figure in (min_tdcf_2019, min_tdcf_2021):
        assert figure(np.exp(score), is_spoof, ASV) == figure(score, is_spoof, ASV)


@pytest.mark.parametrize("seed", range(6))  # the threshold is a target's score in some, an impostor's in others
def test_verification_rates_are_those_at_the_scripts_equal_error_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    target, nontarget, spoof = rng.normal(2, 1, 400), rng.normal(-2, 1, 300), rng.normal(1, 1, 200)
    # The scripts' threshold is the highest score rejected where the rates are nearest; they then accept from it.
    thresholds = np.sort(np.concatenate((target, nontarget)))
    gaps = [abs(np.mean(target <= t) - np.mean(nontarget > t)) for t in thresholds]
    threshold = thresholds[int(np.argmin(np.round(gaps, 12)))]
    assert asv_error_rates(target, nontarget, spoof) == AsvErrorRates(
        float(np.mean(target < threshold)),
        float(np.mean(nontarget >= threshold)),
        float(np.mean(spoof >= threshold)),
    )


def test_a_table_without_spoofed_verification_trials_is_refused() -> None:
    with pytest.raises(EvaluationInputError, match="spoofed trials"):
        asv_error_rates(np.ones(3), np.zeros(3), np.array([]))


@pytest.mark.parametrize("rates", [AsvErrorRates(0.9, 1.0, 0.5), AsvErrorRates(0.0, 0.0, 0.0)])
def test_verification_rates_for_which_the_cost_is_undefined_are_refused(rates: AsvErrorRates) -> None:
    score, is_spoof = gaussian_scores(2, 50)
    with pytest.raises(EvaluationInputError, match="not defined"):
        min_tdcf_2019(score, is_spoof, rates)


def test_rates_in_per_cent_are_refused() -> None:
    with pytest.raises(EvaluationInputError, match="fractions"):
        AsvErrorRates(2.5, 3.0, 70.0)
