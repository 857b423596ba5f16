"""Fit everything in a candidate's spec that its graph doesn't hold: calibration, thresholds, OOD limit.

Fitted on the clips that the run held out: other source repositories, and systems that training never heard.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from earwitness.model_spec import ModelSpec, load_spec
from ml.evaluation.atomic_write import write_text
from ml.evaluation.calibrate_folds import DEFAULT_FOLDS, FittedCalibration, choose_calibration, probability
from ml.evaluation.calibrate_thresholds import ChosenThresholds, ThresholdGoal, choose_thresholds
from ml.evaluation.judge import judge
from ml.evaluation.score_clips import Scored
from ml.evaluation.scores import CLEAN, EvaluationInputError

OOD_PERCENTILE = 99.0
"""One in a hundred ordinary recordings from new sources is turned away as unlike the training data."""


@dataclass(frozen=True, slots=True)
class CalibratedRun:
    spec: ModelSpec
    fitted: FittedCalibration
    chosen: ChosenThresholds


def calibrate(
    graph: Path, heldout: Scored, *, goal: ThresholdGoal, seed: int, folds: int = DEFAULT_FOLDS
) -> CalibratedRun:
    """Fit on the held-out scores and write the spec beside `graph` anew. Other conditions than `clean` are left out.

    Thresholds are chosen on out-of-fold probabilities of clips that are not abstained from. Raises
    EvaluationInputError where the held-out part is too small for the goal.
    """
    draft = load_spec(graph)
    clean = heldout.table.condition == CLEAN
    if not clean.any():
        raise EvaluationInputError("the held-out scores hold no clean clips: score the held-out part first")
    table = heldout.table.select(clean)
    rows = tuple(row for row, is_clean in zip(heldout.measured, clean, strict=True) if is_clean)
    distances = [row.ood_distance for row in rows if row.ood_distance is not None]
    if not distances:
        raise EvaluationInputError("no held-out clip could be embedded: look at the suitability limits")
    limits = replace(draft.limits, max_ood_distance=float(np.percentile(distances, OOD_PERCENTILE)))
    fitted = choose_calibration(table, seed=seed, folds=folds)
    suitable = ~judge(Scored(table, rows, ()), replace(draft, limits=limits)).abstained
    chosen = choose_thresholds(probability(fitted.out_of_fold.llr)[suitable], table.is_spoof[suitable], goal)
    spec = replace(
        draft,
        calibration=fitted.calibration,
        thresholds=chosen.thresholds,
        thresholds_chosen=f"{chosen.reason}; on {fitted.groups} source repositories held out of training, out of fold",
        limits=limits,
    )
    write_text(graph.with_suffix(".json"), spec.to_json())
    return CalibratedRun(spec, fitted, chosen)
