"""The bounds of the llr."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.evaluation.calibrate_caps import llr_bounds
from ml.evaluation.scores import BoolArray, EvaluationInputError, FloatArray
from ml.tests.score_tables import UNTIMED, gaussian_scores

GRID_STEP = 0.01


def grid_upper_bound(llr: FloatArray, is_spoof: BoolArray) -> float:
    """By the paper's own words, on a grid: go up while the expected cost with the llr, one misleading clip of each
    class added, is no more than the cost of not listening."""
    spoof = np.append(llr[is_spoof], -np.inf)
    bonafide = np.append(llr[~is_spoof], np.inf)
    threshold = 0.0
    while True:
        prior_spoof = 1.0 / (1.0 + math.exp(threshold))  # for which this threshold is the Bayes decision
        cost = prior_spoof * np.mean(spoof < threshold) + (1 - prior_spoof) * np.mean(bonafide >= threshold)
        if cost > min(prior_spoof, 1 - prior_spoof) + 1e-12:
            return threshold
        threshold += GRID_STEP


@pytest.mark.parametrize("seed", range(4))
def test_bounds_agree_with_a_grid_search_of_the_definition(seed: int) -> None:
    score, is_spoof = gaussian_scores(seed, 400, share_spoof=0.6)
    low, high = llr_bounds(2 * score, is_spoof)
    assert high == pytest.approx(grid_upper_bound(2 * score, is_spoof), abs=1.5 * GRID_STEP)
    assert -low == pytest.approx(grid_upper_bound(-2 * score, ~is_spoof), abs=1.5 * GRID_STEP)


def test_clean_separation_supports_about_the_log_of_the_number_of_clips() -> None:
    llr = np.concatenate((np.full(50, -20.0), np.full(200, 20.0)))
    low, high = llr_bounds(llr, np.arange(250) >= 50)
    assert high == pytest.approx(math.log(200 / 201 * 51))
    assert low == pytest.approx(-math.log(50 / 51 * 201))


def test_a_misleading_clip_lowers_the_bound_on_its_side_only() -> None:
    llr = np.concatenate((np.full(100, -20.0), np.full(100, 20.0)))
    is_spoof = np.arange(200) >= 100
    low, high = llr_bounds(llr, is_spoof)
    llr[0] = 20.0  # one human who sounds most synthetic
    low_then, high_then = llr_bounds(llr, is_spoof)
    assert high_then == pytest.approx(high - math.log(2))
    assert low_then == pytest.approx(low, abs=0.02)


@settings(UNTIMED, max_examples=50)
@given(st.integers(0, 50), st.floats(0.5, 6.0))
def test_bounds_never_claim_more_than_the_clips_seen_or_the_llrs_given(seed: int, factor: float) -> None:
    score, is_spoof = gaussian_scores(seed, 200)
    llr = factor * score
    low, high = llr_bounds(llr, is_spoof)
    n_spoof, n_bonafide = is_spoof.sum(), (~is_spoof).sum()
    assert 0 < high <= min(math.log(n_bonafide + 1), llr.max())
    assert 0 > low >= max(-math.log(n_spoof + 1), llr.min())


def test_llrs_that_mislead_on_one_side_support_no_claim() -> None:
    score, is_spoof = gaussian_scores(9, 300)
    with pytest.raises(EvaluationInputError, match="supports no claim for spoof"):
        llr_bounds(-np.abs(score) - 0.1, is_spoof)
