"""The likelihood ratio on its axis says what the sentences beside it say."""

import math

import pytest

from earwitness.reporting.scales import ratio_svg
from earwitness.reporting.tables import ratio_sentence


@pytest.mark.parametrize(
    ("ratio", "on_the_axis", "in_words"), [(55.9, "LR 55<", " 55 "), (1 / 14.8, "LR 1/14<", " 14 ")]
)
def test_the_mark_on_the_axis_and_the_sentence_give_one_figure(
    ratio: float, on_the_axis: str, in_words: str
) -> None:
    block = {"lr": ratio, "log10_lr": math.log10(ratio), "llr_min": -3.0, "llr_max": 4.5}
    assert on_the_axis in ratio_svg(block)
    assert in_words in ratio_sentence(block)
