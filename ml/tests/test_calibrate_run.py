"""What calibration writes into a candidate's spec."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from earwitness.model_spec import load_spec
from ml.evaluation.calibrate_folds import OutOfFold, cross_checked_outcome, probability
from ml.evaluation.calibrate_run import calibrate, stricter_goal
from ml.evaluation.calibrate_thresholds import ThresholdGoal
from ml.evaluation.judge import judge
from ml.evaluation.score_clips import Measured, Scored
from ml.evaluation.scores import EvaluationInputError, joined
from ml.tests.score_tables import make_table, replaced

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "audio" / "latest.onnx"
GOAL = ThresholdGoal(0.05, 0.10, certainty=None)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    for suffix in (".onnx", ".json"):
        shutil.copy(SHIPPED.with_suffix(suffix), tmp_path / f"model{suffix}")
    return tmp_path / "model.onnx"


def scored(n: int = 1500, repos: int = 20, distances: list[float] | None = None) -> Scored:
    table = make_table(seed=4, n=n, repos=repos)
    distance = distances or [1.0 + i / n for i in range(n)]
    measured = tuple(
        Measured(str(table.clip[i]), "clean", 4.0, 3.0, -20.0, 40.0, 7_000.0, distance[i]) for i in range(n)
    )
    return Scored(table, measured, ())


def test_the_spec_gets_calibration_thresholds_and_the_limit_of_the_distance(graph: Path) -> None:
    done = calibrate(graph, scored(), goal=GOAL, seed=1)
    spec = load_spec(graph)
    assert spec == done.spec
    assert spec.calibration == done.fitted.calibration
    assert spec.thresholds == done.chosen.thresholds
    assert spec.limits.max_ood_distance == pytest.approx(1.99, abs=0.001)


def test_thresholds_are_cross_checked_on_the_clips_that_are_not_abstained_from(graph: Path) -> None:
    heldout = scored()
    done = calibrate(graph, heldout, goal=GOAL, seed=1)
    suitable = np.array([(row.ood_distance or 0) <= done.spec.limits.max_ood_distance for row in heldout.measured])
    out_of_fold, is_spoof = done.fitted.out_of_fold, heldout.table.is_spoof[suitable]
    judged = OutOfFold(out_of_fold.llr[suitable], out_of_fold.fold[suitable])
    outcome = cross_checked_outcome(judged, is_spoof, stricter_goal(judged, is_spoof, GOAL))
    assert (
        f"{outcome.bonafide_called_deepfake:.2%} of bona fide are called DEEPFAKE and "
        f"{outcome.spoof_called_authentic:.2%} of spoof AUTHENTIC"
    ) in done.spec.thresholds_chosen


def test_a_goal_that_other_sources_break_is_made_stricter() -> None:
    """One source of four scores all its human clips higher: the thresholds of the others accuse it."""
    rng = np.random.default_rng(1)
    fold = np.repeat(np.arange(4), 200)
    is_spoof = np.tile(np.arange(200) >= 100, 4)
    llr = rng.normal(np.where(is_spoof, 2.0, -1.0), 1.0) + np.where((fold == 3) & ~is_spoof, 1.0, 0.0)
    judged = OutOfFold(llr, fold)
    assert cross_checked_outcome(judged, is_spoof, GOAL).bonafide_called_deepfake > 0.05
    asked = stricter_goal(judged, is_spoof, GOAL)
    assert asked.max_bonafide_called_deepfake < 0.05
    assert cross_checked_outcome(judged, is_spoof, asked).bonafide_called_deepfake <= 0.05
    assert asked.max_spoof_called_authentic == GOAL.max_spoof_called_authentic


def test_a_goal_that_other_sources_keep_stays() -> None:
    llr = np.tile(np.concatenate([np.linspace(-6, -1, 100), np.linspace(1, 6, 100)]), 4)
    judged = OutOfFold(llr, np.repeat(np.arange(4), 200))
    assert stricter_goal(judged, llr > 0, GOAL) == GOAL


def test_degraded_human_speech_raises_the_threshold_of_deepfake_and_nothing_else(graph: Path) -> None:
    clean = scored()
    before = calibrate(graph, clean, goal=GOAL, seed=1)
    opus = replaced(clean.table, condition=np.full(len(clean.table), "opus_16k"), score=clean.table.score + 1.5)
    both = Scored(joined([clean.table, opus]), clean.measured + clean.measured, ())
    after = calibrate(graph, both, goal=GOAL, seed=1)
    assert after.spec.calibration == before.spec.calibration
    assert after.spec.thresholds.t_low == before.spec.thresholds.t_low
    assert after.spec.thresholds.t_high > before.spec.thresholds.t_high
    judged = judge(Scored(opus, clean.measured, ()), after.spec)
    bonafide = ~opus.is_spoof
    called = (probability(judged.llr) >= after.spec.thresholds.t_high) & ~judged.abstained & bonafide
    rate = called.sum() / bonafide.sum()
    assert 0.03 < rate <= GOAL.max_bonafide_called_deepfake_degraded
    assert "opus_16k asks for the most" in after.spec.thresholds_chosen


def test_folds_too_small_to_cross_check_say_so(graph: Path) -> None:
    goal = ThresholdGoal(0.05, 0.10, certainty=0.95)
    heldout = scored(n=160, repos=8)
    apart = replaced(heldout.table, score=heldout.table.score + np.where(heldout.table.is_spoof, 6.0, -6.0))
    done = calibrate(graph, Scored(apart, heldout.measured, ()), goal=goal, seed=1, folds=2)
    assert "not cross-checked: " in done.spec.thresholds_chosen


def test_other_conditions_than_clean_have_no_say(graph: Path) -> None:
    heldout = scored()
    noisy = replaced(heldout.table, condition=np.full(len(heldout.table), "noise_10db"))
    with pytest.raises(EvaluationInputError, match="no clean clips"):
        calibrate(graph, Scored(noisy, heldout.measured, ()), goal=GOAL, seed=1)
