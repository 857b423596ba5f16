"""Calibration that is fitted and judged out of fold.

    fitted = fit_calibration(table, table.condition == CLEAN, seed=1)
    fitted.calibration                      # goes into the model spec, fitted on all of those rows
    fitted.before, fitted.after             # figures from lines that never saw the clips they judge

A detector is surer of systems that it was trained on: a line fitted on those promises too much about all others.
So only recordings are used whose source repository, and whose generator's lineage, were not trained on: the
run's held-out part (`ml.training.sampling.hold_out`). The figures come from cross-validation that leaves out
whole source repositories, and drops from each fold's fitting part the lineages that also stand in its judging
part.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from earwitness.calibration import Calibration
from ml.evaluation.calibrate import Line, fit_affine, fit_temperature
from ml.evaluation.calibrate_caps import llr_bounds
from ml.evaluation.calibrate_thresholds import (
    LOWEST_T_HIGH,
    Outcome,
    ThresholdGoal,
    choose_thresholds,
    outcome_of_verdicts,
)
from ml.evaluation.metrics_calibration import (
    brier,
    cllr,
    expected_calibration_error,
    min_cllr,
    negative_log_likelihood,
)
from ml.evaluation.scores import UNKNOWN, BoolArray, EvaluationInputError, FloatArray, ScoreTable

Method = Literal["affine", "temperature", "identity"]


def _unchanged(_score: FloatArray, _is_spoof: BoolArray) -> Line:
    return Line(slope=1.0, intercept=0.0)


FITS: dict[Method, Callable[[FloatArray, BoolArray], Line]] = {
    "affine": fit_affine,
    "temperature": fit_temperature,
    "identity": _unchanged,
}
"""`identity` takes the network's logit for the llr; only its caps are fitted."""

DEFAULT_FOLDS = 5
CLLR_TIE = 0.005  # on some hundred clips of some sixteen sources a smaller difference is chance


@dataclass(frozen=True, slots=True)
class CalibrationFigures:
    """Of one set of llrs on one table; probabilities at a prior of 0.5, classes weighed alike."""

    ece_equal_mass: float
    ece_equal_width: float
    brier: float
    nll: float
    cllr: float
    min_cllr: float
    cllr_cal: float


@dataclass(frozen=True, slots=True, eq=False)
class OutOfFold:
    """Each clip's llr by a line (and caps) fitted without its source repository and its lineage."""

    llr: FloatArray
    """(n,), natural log, capped"""
    fold: NDArray[np.int_]
    """(n,), in which fold each clip was judged"""


@dataclass(frozen=True, slots=True, eq=False)
class FittedCalibration:
    calibration: Calibration
    """Fitted on all rows that may be fitted on."""
    method: Method
    out_of_fold: OutOfFold
    before: CalibrationFigures
    """Of the raw score read as an llr."""
    after: CalibrationFigures
    """Out of fold, of the rows that may be fitted on."""
    bonafide: int
    spoof: int
    groups: int


def fit_calibration(
    table: ScoreTable,
    may_fit: BoolArray | None = None,
    *,
    seed: int,
    method: Method = "affine",
    folds: int = DEFAULT_FOLDS,
) -> FittedCalibration:
    """Fit on the rows of `may_fit` (all where None), judge them by cross-validation.

    All rows of the table get an out-of-fold llr, those that may not be fitted on too.
    """
    usable = np.ones(len(table), dtype=np.bool_) if may_fit is None else may_fit
    fitting = table.select(usable)
    out_of_fold = calibrate_out_of_fold(table, usable, seed=seed, method=method, folds=folds)
    return FittedCalibration(
        calibration=_fitted_on(fitting, method),
        method=method,
        out_of_fold=out_of_fold,
        before=calibration_figures(fitting.score, fitting.is_spoof),
        after=calibration_figures(out_of_fold.llr[usable], fitting.is_spoof),
        bonafide=int((~fitting.is_spoof).sum()),
        spoof=int(fitting.is_spoof.sum()),
        groups=len(np.unique(fitting.source_repo)),
    )


def choose_calibration(
    table: ScoreTable, may_fit: BoolArray | None = None, *, seed: int, folds: int = DEFAULT_FOLDS
) -> FittedCalibration:
    """Of the three methods the one with the lowest Cllr out of fold; of those that are as good, to within CLLR_TIE, the
    one with the lowest ECE.

    A line's numbers are worth having only where they carry over to sources that it never saw. With few sources
    they may not, and a network trained on balanced classes is then nearer to the truth as it is.
    """
    fits, refused = [], []
    for method in FITS:
        try:
            fits.append(fit_calibration(table, may_fit, seed=seed, method=method, folds=folds))
        except EvaluationInputError as error:  # a method may support no claim at all where another one does
            refused.append(f"{method}: {error}")
    if not fits:
        raise EvaluationInputError("; ".join(refused))
    return best_calibrated(fits)


def best_calibrated(fits: Sequence[FittedCalibration]) -> FittedCalibration:
    """By Cllr out of fold, and by ECE where that can't tell."""
    least = min(fit.after.cllr for fit in fits)
    tied = [fit for fit in fits if fit.after.cllr <= least + CLLR_TIE]
    return min(tied, key=lambda fit: fit.after.ece_equal_mass)


def calibrate_out_of_fold(
    table: ScoreTable, may_fit: BoolArray, *, seed: int, method: Method = "affine", folds: int = DEFAULT_FOLDS
) -> OutOfFold:
    """Judge every clip by a calibration that saw neither its source repository nor its lineage, where that is known."""
    groups = len(np.unique(table.source_repo))
    if not 2 <= folds <= groups:
        raise EvaluationInputError(
            f"{folds} folds need as many source repositories, got {groups}: use fewer folds"
        )
    llr = np.zeros(len(table))
    fold_of = np.zeros(len(table), dtype=np.int_)
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    for fold, (fitting, judging) in enumerate(splitter.split(table.score, table.is_spoof, table.source_repo)):
        judged_lineages = np.setdiff1d(table.lineage[judging][table.is_spoof[judging]], [UNKNOWN])
        leaks = table.is_spoof[fitting] & np.isin(table.lineage[fitting], judged_lineages)
        clean = fitting[may_fit[fitting] & ~leaks]
        try:
            calibration = _fitted_on(table.select(clean), method)
        except EvaluationInputError as e:
            raise EvaluationInputError(
                f"fold {fold + 1} of {folds}: {len(clean)} of {len(fitting)} clips outside it may be fitted on "
                f"and share no lineage with it: {e}"
            ) from e
        llr[judging] = capped_llr(table.score[judging], calibration)
        fold_of[judging] = fold
    return OutOfFold(llr, fold_of)


def cross_checked_outcome(
    out_of_fold: OutOfFold, is_spoof: BoolArray, goal: ThresholdGoal, *, t_high_at_least: float = LOWEST_T_HIGH
) -> Outcome:
    """What thresholds do to clips that had no say in them: each fold is decided by those of the others.

    Raises EvaluationInputError where the folds are too small for the goal.
    """
    p_fake = probability(out_of_fold.llr)
    deepfake = np.zeros(len(p_fake), dtype=np.bool_)
    authentic = np.zeros(len(p_fake), dtype=np.bool_)
    for fold in np.unique(out_of_fold.fold):
        judged = out_of_fold.fold == fold
        thresholds = choose_thresholds(
            p_fake[~judged], is_spoof[~judged], goal, t_high_at_least=t_high_at_least
        ).thresholds
        deepfake[judged] = p_fake[judged] >= thresholds.t_high
        authentic[judged] = p_fake[judged] <= thresholds.t_low
    return outcome_of_verdicts(deepfake, authentic, is_spoof)


def capped_llr(score: FloatArray, calibration: Calibration) -> FloatArray:
    """`Calibration.llr` of a whole column."""
    line = Line(calibration.slope, calibration.intercept)
    return np.clip(line.llr(score), calibration.llr_min, calibration.llr_max)


def probability(llr: FloatArray) -> FloatArray:
    """p_fake at a prior of 0.5: `earwitness.calibration.posterior` of a whole column."""
    return np.exp(-np.logaddexp(0.0, -llr))


def calibration_figures(llr: FloatArray, is_spoof: BoolArray) -> CalibrationFigures:
    """All calibration figures of one column of llrs."""
    p_fake = probability(llr)
    total, least = cllr(llr, is_spoof), min_cllr(llr, is_spoof)
    return CalibrationFigures(
        ece_equal_mass=expected_calibration_error(p_fake, is_spoof),
        ece_equal_width=expected_calibration_error(p_fake, is_spoof, binning="equal_width"),
        brier=brier(p_fake, is_spoof),
        nll=negative_log_likelihood(llr, is_spoof),
        cllr=total,
        min_cllr=least,
        cllr_cal=total - least,
    )


def _fitted_on(table: ScoreTable, method: Method) -> Calibration:
    line = FITS[method](table.score, table.is_spoof)
    llr_min, llr_max = llr_bounds(line.llr(table.score), table.is_spoof)
    return Calibration(line.slope, line.intercept, llr_min, llr_max)
