"""Verdicts before and after a change of the recording, clip by clip."""

import numpy as np
import pytest

from earwitness.policy import Thresholds
from ml.evaluation.scores import joined
from ml.evaluation.verdict_flips import verdict_flips
from ml.tests.score_tables import make_table, replaced

THRESHOLDS = Thresholds(t_low=0.2, t_high=0.8)
AUTHENTIC, SUSPICIOUS, DEEPFAKE = -3.0, 0.0, 3.0  # llrs that are clearly so
CLEAN = make_table(n=5, repos=2)  # two bona fide clips, then three of spoof
HERE = np.full(5, "quieter_20db")


def flips_of(before: list[float], after: list[float], abstained: list[bool] | None = None) -> tuple[float, ...]:
    table = joined([CLEAN, replaced(CLEAN, condition=HERE)])
    (found,) = verdict_flips(
        table, np.array(before + after), THRESHOLDS, np.array([False] * 5 + (abstained or [False] * 5))
    )
    assert (found.condition, found.clips) == ("quieter_20db", 5)
    return found.changed, found.reversed, found.bonafide_to_deepfake, found.spoof_to_authentic


def test_nothing_flips_where_verdicts_stay() -> None:
    verdicts = [AUTHENTIC, SUSPICIOUS, DEEPFAKE, DEEPFAKE, AUTHENTIC]
    assert flips_of(verdicts, [llr * 1.5 for llr in verdicts]) == (0.0, 0.0, 0.0, 0.0)


def test_each_kind_of_flip_is_counted_in_its_class() -> None:
    before = [AUTHENTIC, SUSPICIOUS, DEEPFAKE, DEEPFAKE, SUSPICIOUS]
    after = [DEEPFAKE, SUSPICIOUS, AUTHENTIC, SUSPICIOUS, AUTHENTIC]
    assert flips_of(before, after) == pytest.approx((4 / 5, 2 / 5, 1 / 2, 2 / 3))


def test_an_abstention_is_suspicious() -> None:
    verdicts = [AUTHENTIC, AUTHENTIC, DEEPFAKE, DEEPFAKE, DEEPFAKE]
    assert flips_of(verdicts, verdicts, [True, False, True, False, False]) == pytest.approx((2 / 5, 0.0, 0.0, 0.0))


def test_clips_that_were_not_scored_clean_don_t_count() -> None:
    changed = replaced(CLEAN, condition=HERE).select(np.array([0, 1, 2]))
    table = joined([CLEAN.select(np.array([2, 1])), changed])
    llr = np.array([DEEPFAKE, AUTHENTIC, DEEPFAKE, DEEPFAKE, DEEPFAKE])
    (found,) = verdict_flips(table, llr, THRESHOLDS, np.zeros(5, dtype=bool))
    assert found.clips == 2
    assert found.bonafide_to_deepfake == 1.0


def test_without_another_condition_there_is_nothing_to_compare() -> None:
    assert verdict_flips(CLEAN, CLEAN.score, THRESHOLDS, np.zeros(5, dtype=bool)) == ()
