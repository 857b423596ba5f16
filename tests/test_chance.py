import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.chance import StretchChance

CHANCE = StretchChance(hop_s=2.0, per_minute=4.0, decay=0.1)


def test_what_is_expected_grows_with_the_length_and_falls_with_the_weight() -> None:
    assert CHANCE.expected(0.0, 2.0) == 8.0
    assert CHANCE.expected(10.0, 1.0) == pytest.approx(4.0 * math.exp(-1.0))
    assert CHANCE.expected(10.0, 60.0) == pytest.approx(60.0 * CHANCE.expected(10.0, 1.0))
    assert CHANCE.expected(10.0 + math.log(2.0) / 0.1, 1.0) == pytest.approx(CHANCE.expected(10.0, 1.0) / 2.0)
    assert CHANCE.expected(10.0, 0.0) == 0.0


@given(st.floats(0.0, 1_000.0), st.floats(0.0, 100.0), st.floats(0.0, 1_000.0))
def test_a_heavier_stretch_is_never_expected_more_often(weight: float, more: float, minutes: float) -> None:
    assert 0.0 <= CHANCE.expected(weight + more, minutes) <= CHANCE.expected(weight, minutes)


@pytest.mark.parametrize(
    "wrong",
    [{"hop_s": 0.0}, {"decay": -0.1}, {"per_minute": 0.0}, {"per_minute": math.inf}, {"decay": math.nan}],
)
def test_rates_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    right = {"hop_s": 2.0, "per_minute": 4.0, "decay": 0.1}
    with pytest.raises(ValueError, match="stretches by chance"):
        StretchChance(**{**right, **wrong})
