"""The likelihood block: words from the cited table, caps, posteriors, polarity."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.calibration import posterior
from earwitness.likelihood import ENFSI_2015, PRIORS, Favours, likelihood, verbal_equivalent

WIDE = 20.0


@pytest.mark.parametrize(
    ("ratio", "support"),
    [
        (1.0, "no support for one proposition over the other"),
        (1.99, "no support for one proposition over the other"),
        (2.0, "weak support"),
        (9.99, "weak support"),
        (10.0, "moderate support"),
        (100.0, "moderately strong support"),
        (1_000.0, "strong support"),
        (10_000.0, "very strong support"),
        (999_999.0, "very strong support"),
        (1_000_000.0, "extremely strong support"),
        (1e300, "extremely strong support"),
    ],
)
def test_the_words_are_those_of_the_table_in_both_directions(ratio: float, support: str) -> None:
    for llr, favours in ((math.log(ratio), Favours.SPOOF), (-math.log(ratio), Favours.BONA_FIDE)):
        words, side = verbal_equivalent(llr)
        assert words == support
        assert side is (Favours.NEITHER if words.startswith("no ") else favours)


def test_the_table_is_cited_and_versioned() -> None:
    assert ENFSI_2015.id in likelihood(1.0, -WIDE, WIDE).verbal_scale
    assert "Evaluative Reporting" in ENFSI_2015.citation and "2015" in ENFSI_2015.citation


@pytest.mark.parametrize(("llr", "held"), [(5.0, 3.0), (-5.0, -2.0), (1.0, 1.0)])
def test_no_more_is_claimed_than_the_calibration_supports(llr: float, held: float) -> None:
    block = likelihood(llr, -2.0, 3.0)

    assert block.llr == held
    assert block.capped is (held != llr)
    assert block.log10_lr == pytest.approx(math.log10(math.exp(held)))
    assert block.lr == pytest.approx(math.exp(held))


def test_an_llr_that_was_capped_before_is_still_called_capped() -> None:
    assert likelihood(3.0, -2.0, 3.0).capped


@given(st.floats(-WIDE, WIDE))
def test_posteriors_are_bayes_rule_for_each_prior(llr: float) -> None:
    block = likelihood(llr, -WIDE, WIDE)

    assert tuple(entry.prior for entry in block.posteriors) == PRIORS == (0.01, 0.10, 0.50)
    for entry in block.posteriors:
        assert entry.p_fake == pytest.approx(posterior(llr, entry.prior))


@given(st.floats(-WIDE, WIDE), st.floats(-WIDE, WIDE))
def test_stronger_findings_never_get_weaker_words(one: float, other: float) -> None:
    order = [band.support for band in ENFSI_2015.bands]
    weaker, stronger = sorted((one, other), key=abs)

    assert order.index(verbal_equivalent(weaker)[0]) <= order.index(verbal_equivalent(stronger)[0])


def test_the_sentence_names_the_proposition_that_is_supported() -> None:
    assert "was made or altered by a machine, rather" in likelihood(2.0, -3.0, 3.0).verbal
    assert "is human speech as it was recorded, rather" in likelihood(-2.0, -3.0, 3.0).verbal


@pytest.mark.parametrize("llr", [math.nan, math.inf])
def test_what_is_no_number_is_refused(llr: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        likelihood(llr, -2.0, 3.0)
