import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.calibration import Calibration, at_even_odds, posterior

CALIBRATION = Calibration(slope=2.0, intercept=-1.0, llr_min=-5.0, llr_max=4.0)
numbers = st.floats(-1e6, 1e6)
priors = st.floats(1e-6, 1 - 1e-6)


@pytest.mark.parametrize(("score", "llr"), [(0.0, -1.0), (1.0, 1.0), (0.5, 0.0), (9.0, 4.0), (-9.0, -5.0)])
def test_the_line_and_its_caps(score: float, llr: float) -> None:
    assert CALIBRATION.llr(score) == llr


@given(lower=numbers, step=st.floats(0, 1e6))
def test_a_higher_score_never_means_less_likely_spoof(lower: float, step: float) -> None:
    assert CALIBRATION.llr(lower) <= CALIBRATION.llr(lower + step)


@pytest.mark.parametrize(
    ("llr", "prior", "p_fake"),
    [
        (0.0, 0.5, 0.5),
        (0.0, 0.01, 0.01),
        (math.log(9), 0.5, 0.9),
        (math.log(99), 0.01, 0.5),
        (-math.log(4), 0.5, 0.2),
    ],
)
def test_bayes_by_hand(llr: float, prior: float, p_fake: float) -> None:
    assert posterior(llr, prior) == pytest.approx(p_fake)


@given(llr=st.floats(-1e4, 1e4), prior=priors)
def test_a_posterior_is_a_probability(llr: float, prior: float) -> None:
    assert 0.0 <= posterior(llr, prior) <= 1.0


@given(llr=st.floats(-50, 50), prior=priors)
def test_both_propositions_add_up_to_one(llr: float, prior: float) -> None:
    assert posterior(llr, prior) + posterior(-llr, 1 - prior) == pytest.approx(1.0)


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_certainty_beforehand_is_refused(prior: float) -> None:
    with pytest.raises(ValueError, match="prior"):
        posterior(0.0, prior)


@pytest.mark.parametrize("prior", [0.001, 0.3, 0.5, 0.99])
@pytest.mark.parametrize("llr", [-4.0, 0.0, 2.5])
def test_at_even_odds_a_probability_is_that_of_its_ratio_alone(llr: float, prior: float) -> None:
    assert at_even_odds(posterior(llr, prior), prior) == pytest.approx(posterior(llr))


@pytest.mark.parametrize(
    ("slope", "intercept", "llr_min", "llr_max"),
    [(0, 0, -1, 1), (-1, 0, -1, 1), (math.nan, 0, -1, 1), (1, math.inf, -1, 1), (1, 0, 1, 1), (1, 0, 2, 1)],
)
def test_a_calibration_that_turns_things_round_is_refused(
    slope: float, intercept: float, llr_min: float, llr_max: float
) -> None:
    with pytest.raises(ValueError, match=r"slope|finite|llr_min"):
        Calibration(slope, intercept, llr_min, llr_max)
