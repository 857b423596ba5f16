"""Fit the numbers of `earwitness.calibration.Calibration`: from raw scores to likelihood ratios.

    line = fit_affine(table.score, table.is_spoof)        # llr = line.slope * score + line.intercept

Affine (logistic) calibration: Brummer & du Preez, 2006, "Application-independent evaluation of speaker
detection". Temperature scaling: Guo et al., 2017, "On calibration of modern neural networks"; it is the case
intercept = 0. Both are fitted at a prior of 0.5: each class weighs one half, whatever its share in the table,
so the line gives a likelihood ratio and no posterior of that table.

Only the fitting of one line is here. What may be fitted on, and figures that are themselves held out, are in
`calibrate_folds`; the limits of the llr in `calibrate_caps`; thresholds in `calibrate_thresholds`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from ml.evaluation.metrics import check_two_classes
from ml.evaluation.scores import BoolArray, EvaluationInputError, FloatArray

MIN_CLIPS_PER_CLASS = 10
"""Two numbers fitted on fewer clips than this say more about the clips than about the detector."""

MIN_STANDARD_SLOPE = 1e-3
"""Slope after the scores were scaled to unit spread; at or below this the scores tell the classes apart no better
than chance, or the wrong way round."""


@dataclass(frozen=True, slots=True)
class Line:
    """llr = slope * score + intercept; slope > 0."""

    slope: float
    intercept: float

    def llr(self, score: FloatArray) -> FloatArray:
        """Natural-log likelihood ratio, without caps."""
        return self.slope * score + self.intercept


def fit_affine(score: FloatArray, is_spoof: BoolArray) -> Line:
    """Slope and intercept that minimise the cross-entropy at a prior of 0.5 (that is Cllr)."""
    return _fit(score, is_spoof, with_intercept=True)


def fit_temperature(score: FloatArray, is_spoof: BoolArray) -> Line:
    """One positive factor and no intercept: slope = 1 / temperature."""
    return _fit(score, is_spoof, with_intercept=False)


def _fit(score: FloatArray, is_spoof: BoolArray, *, with_intercept: bool) -> Line:
    check_two_classes(score, is_spoof)
    n_spoof, n_bonafide = int(is_spoof.sum()), int((~is_spoof).sum())
    if min(n_spoof, n_bonafide) < MIN_CLIPS_PER_CLASS:
        raise EvaluationInputError(
            f"calibration needs {MIN_CLIPS_PER_CLASS} clips of each class, got {n_spoof} spoof and "
            f"{n_bonafide} bona fide: hold out more"
        )
    centre = float(score.mean()) if with_intercept else 0.0
    spread = float(np.sqrt(np.mean((score - centre) ** 2)))
    if spread == 0.0:
        raise EvaluationInputError("all scores are equal: there is nothing to calibrate")
    x = (score - centre) / spread
    # Platt's targets (Platt, 1999): with (n + 1) / (n + 2) for 1 the slope stays finite where the classes part
    # cleanly; at a hundred clips it moves the line by less than its own uncertainty.
    target = np.where(is_spoof, (n_spoof + 1) / (n_spoof + 2), 1 / (n_bonafide + 2))
    weight = np.where(is_spoof, 0.5 / n_spoof, 0.5 / n_bonafide)

    def loss(line: FloatArray) -> tuple[float, FloatArray]:
        z = line[0] * x + (line[1] if with_intercept else 0.0)
        error = weight * (_sigmoid(z) - target)
        value = float(np.sum(weight * (np.logaddexp(0.0, z) - target * z)))
        return value, np.array([np.sum(error * x), np.sum(error)])[: len(line)]

    start = np.array([1.0, 0.0] if with_intercept else [1.0])
    bounds = [(0.0, None), (None, None)][: len(start)]
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9}
    )
    if found.x[0] <= MIN_STANDARD_SLOPE:
        raise EvaluationInputError(
            "the scores don't separate spoof from bona fide, or point the wrong way (higher must mean spoof): "
            "no calibration can mend that"
        )
    slope = float(found.x[0]) / spread
    intercept = float(found.x[1]) - slope * centre if with_intercept else 0.0
    return Line(slope, intercept)


def _sigmoid(z: FloatArray) -> FloatArray:
    return np.exp(-np.logaddexp(0.0, -z))
