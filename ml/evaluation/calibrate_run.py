"""Fit everything in a candidate's spec that its graph doesn't hold: calibration, thresholds, OOD limit.

Fitted on the clips that the run held out: other source repositories, and systems that training never heard.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from earwitness.model_spec import ModelSpec, load_spec
from ml.evaluation.atomic_write import write_text
from ml.evaluation.calibrate_folds import (
    DEFAULT_FOLDS,
    FittedCalibration,
    OutOfFold,
    choose_calibration,
    cross_checked_outcome,
    probability,
)
from ml.evaluation.calibrate_thresholds import (
    LOWEST_T_HIGH,
    ChosenThresholds,
    ThresholdGoal,
    allowed_errors,
    choose_thresholds,
)
from ml.evaluation.judge import judge
from ml.evaluation.ood import max_distance
from ml.evaluation.score_clips import Scored
from ml.evaluation.scores import CLEAN, BoolArray, EvaluationInputError

STRICTER_STEPS = 10
"""Each a tenth of the goal: of a few hundred held-out clips that is less than one."""


@dataclass(frozen=True, slots=True)
class CalibratedRun:
    spec: ModelSpec
    fitted: FittedCalibration
    chosen: ChosenThresholds


def calibrate(
    graph: Path, heldout: Scored, *, goal: ThresholdGoal, seed: int, folds: int = DEFAULT_FOLDS
) -> CalibratedRun:
    """Fit on the held-out scores and write the spec beside `graph` anew.

    Conditions other than `clean`, where there are any, can only raise the threshold of DEEPFAKE: calibration is of
    recordings as they lie on disk, but speech that a messenger made worse must not be accused for it. Thresholds are
    chosen on out-of-fold probabilities of clips that are not abstained from. Raises
    EvaluationInputError where the held-out part is too small for the goal.
    """
    draft = load_spec(graph)
    clean = heldout.table.condition == CLEAN
    if not clean.any():
        raise EvaluationInputError("the held-out scores hold no clean clips: score the held-out part first")
    table = heldout.table.select(clean)
    rows = tuple(row for row, is_clean in zip(heldout.measured, clean, strict=True) if is_clean)
    distances = np.array([row.ood_distance for row in rows if row.ood_distance is not None], dtype=np.float64)
    limits = replace(draft.limits, max_ood_distance=max_distance(distances))
    fitted = choose_calibration(table, seed=seed, folds=folds)
    suitable = ~judge(Scored(table, rows, ()), replace(draft, limits=limits)).abstained
    judged = OutOfFold(fitted.out_of_fold.llr[suitable], fitted.out_of_fold.fold[suitable])
    is_spoof = table.is_spoof[suitable]
    floor = degraded_floor(heldout, replace(draft, limits=limits, calibration=fitted.calibration), goal)
    asked = stricter_goal(judged, is_spoof, goal, t_high_at_least=floor.t_high)
    chosen = choose_thresholds(probability(judged.llr), is_spoof, asked, t_high_at_least=floor.t_high)
    cross_checked = floor.reason + _cross_checked(judged, is_spoof, asked, floor.t_high)
    if asked != goal:
        cross_checked += f"; stricter than the {goal.max_bonafide_called_deepfake:.1%} meant, so as to hold there"
    spec = replace(
        draft,
        calibration=fitted.calibration,
        thresholds=chosen.thresholds,
        thresholds_chosen=(
            f"{chosen.reason}; on {fitted.groups} source repositories held out of training, out of fold; "
            f"{cross_checked}"
        ),
        limits=limits,
    )
    write_text(graph.with_suffix(".json"), spec.to_json())
    return CalibratedRun(spec, fitted, chosen)


@dataclass(frozen=True, slots=True)
class Floor:
    t_high: float
    reason: str
    """Ends in `; `; empty where no other condition was scored."""


def degraded_floor(heldout: Scored, spec: ModelSpec, goal: ThresholdGoal) -> Floor:
    """The least T_high at which bona fide speech keeps the goal in each condition other than clean.

    By `spec`'s calibration and limits: a clip that is abstained from accuses nobody. Raises EvaluationInputError where
    a condition has too few clips for the goal's certainty.
    """
    judged = judge(heldout, spec)
    p_fake = np.where(judged.abstained, 0.0, probability(judged.llr))
    rate = goal.max_bonafide_called_deepfake_degraded
    asks: dict[str, float] = {}
    for condition in sorted(set(heldout.table.condition) - {CLEAN}):
        bonafide = np.sort(p_fake[(heldout.table.condition == condition) & ~heldout.table.is_spoof])[::-1]
        if bonafide.size:
            blocking = bonafide[allowed_errors(bonafide.size, rate, goal.certainty, f"bona fide {condition}")]
            asks[str(condition)] = float(np.nextafter(blocking, 1.0))  # above it lie no more than are allowed
    if not asks:
        return Floor(LOWEST_T_HIGH, "")
    worst = max(asks, key=lambda name: asks[name])
    t_high = max(LOWEST_T_HIGH, asks[worst])
    return Floor(
        t_high,
        f"T_high at least {t_high:.3f}, at which at most {rate:.1%} of bona fide are called DEEPFAKE in each of "
        f"{', '.join(asks)} ({worst} asks for the most); ",
    )


def stricter_goal(
    judged: OutOfFold, is_spoof: BoolArray, goal: ThresholdGoal, *, t_high_at_least: float = LOWEST_T_HIGH
) -> ThresholdGoal:
    """The goal with a share of bona fide called DEEPFAKE so strict that sources which had no say keep the one meant.

    To accuse wrongly is the worst that can happen, so this rate is held where it counts. The strictest that was tried
    where none holds; the goal itself where the folds are too small to tell.
    """
    meant = goal.max_bonafide_called_deepfake
    asked = goal
    for step in range(STRICTER_STEPS):
        tried = replace(goal, max_bonafide_called_deepfake=meant * (1 - step / STRICTER_STEPS))
        try:
            outcome = cross_checked_outcome(judged, is_spoof, tried, t_high_at_least=t_high_at_least)
            choose_thresholds(probability(judged.llr), is_spoof, tried)  # refuses what it can't reach
        except EvaluationInputError:
            return asked
        asked = tried
        if outcome.bonafide_called_deepfake <= meant:
            return asked
    return asked


def _cross_checked(judged: OutOfFold, is_spoof: BoolArray, goal: ThresholdGoal, t_high_at_least: float) -> str:
    """What thresholds chosen so do to sources that had no say in them, in words: the goal's own rates are a little
    too good, since the same clips chose the thresholds and were counted."""
    try:
        found = cross_checked_outcome(judged, is_spoof, goal, t_high_at_least=t_high_at_least)
    except EvaluationInputError as error:
        return f"not cross-checked: {error}"
    return (
        f"chosen without the fold that they decide, {found.bonafide_called_deepfake:.2%} of bona fide are called "
        f"DEEPFAKE and {found.spoof_called_authentic:.2%} of spoof AUTHENTIC"
    )
