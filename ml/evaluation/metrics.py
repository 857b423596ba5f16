"""Figures of discrimination: how well a score separates bona fide from spoof, whatever its scale.

    eer, threshold = equal_error_rate(table.score, table.is_spoof)

All functions take `score` (n,), higher = more likely spoof, and `is_spoof` (n,) bool. The ASVspoof scripts
score the other way round (higher = bona fide) and speak of the bona fide class as the target. That turn is made
in one place, `error_curve`: its two rates are named by what happens to whom, and everything else uses them.

    here                 ASVspoof
    bonafide_rejected    P_miss of the countermeasure ("frr")   bona fide called spoof
    spoof_accepted       P_fa of the countermeasure ("far")     spoof called bona fide

Calibration figures are in `metrics_calibration`, the tandem cost in `metrics_tandem`, confidence intervals in
`metrics_bootstrap`.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import confusion_matrix, roc_auc_score

from ml.evaluation.scores import BoolArray, EvaluationInputError, FloatArray, TextArray


@dataclass(frozen=True, slots=True)
class ErrorCurve:
    """Both error rates at every threshold that changes a decision; "spoof" is said where score >= threshold."""

    threshold: FloatArray
    """(m,), falling from +inf (nothing is called spoof)"""
    bonafide_rejected: FloatArray
    """(m,), rising from 0 to 1"""
    spoof_accepted: FloatArray
    """(m,), falling from 1 to 0"""


@dataclass(frozen=True, slots=True)
class DetectionCost:
    """Priors and costs of a detection cost function; the defaults are those of ASVspoof 5, track 1.

    Wang et al., 2024, "ASVspoof 5: crowdsourced speech data, deepfakes, and adversarial attacks at scale".
    """

    prior_spoof: float = 0.05
    cost_bonafide_rejected: float = 1.0
    cost_spoof_accepted: float = 10.0

    def __post_init__(self) -> None:
        if not 0.0 < self.prior_spoof < 1.0:
            raise EvaluationInputError(f"prior_spoof must lie between 0 and 1, not {self.prior_spoof}")
        if min(self.cost_bonafide_rejected, self.cost_spoof_accepted) <= 0:
            raise EvaluationInputError("costs must be positive")


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts at one threshold, "positive" = spoof, and what follows from them."""

    spoof_detected: int
    spoof_accepted: int
    bonafide_rejected: int
    bonafide_accepted: int

    @property
    def precision(self) -> float:
        """Share of spoof among what was called spoof; 0.0 where nothing was."""
        called = self.spoof_detected + self.bonafide_rejected
        return self.spoof_detected / called if called else 0.0

    @property
    def recall(self) -> float:
        """Share of the spoof that was detected."""
        return self.spoof_detected / (self.spoof_detected + self.spoof_accepted)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; moves with the share of spoof in the table."""
        twice = 2 * self.spoof_detected
        return twice / (twice + self.spoof_accepted + self.bonafide_rejected)

    @property
    def balanced_accuracy(self) -> float:
        """Mean of the two classes' shares of right decisions."""
        return (self.recall + self.bonafide_accepted / (self.bonafide_accepted + self.bonafide_rejected)) / 2


def check_two_classes(score: FloatArray, is_spoof: BoolArray) -> None:
    """Raise EvaluationInputError unless there are finite scores of both classes."""
    if score.ndim != 1 or score.shape != is_spoof.shape:
        raise EvaluationInputError(
            f"score and is_spoof must be two columns of one length, not {score.shape} and {is_spoof.shape}"
        )
    if is_spoof.dtype != np.bool_:
        raise EvaluationInputError(f"is_spoof must be boolean, not {is_spoof.dtype}: True means spoof")
    n_spoof = int(is_spoof.sum())
    if n_spoof == 0 or n_spoof == len(is_spoof):
        raise EvaluationInputError(
            f"needs recordings of both classes, got {n_spoof} spoof and {len(is_spoof) - n_spoof} bona fide"
        )
    if np.isnan(score).any():
        raise EvaluationInputError("a score is not a number: mend the scorer")


def error_curve(score: FloatArray, is_spoof: BoolArray) -> ErrorCurve:
    """Both error rates at all thresholds. Equal scores fall together: no threshold parts them."""
    check_two_classes(score, is_spoof)
    order = np.argsort(-score, kind="stable")
    falling, spoof = score[order], is_spoof[order]
    last_of_ties = np.append(falling[1:] != falling[:-1], True)
    detected = np.cumsum(spoof)[last_of_ties]
    rejected = np.cumsum(~spoof)[last_of_ties]
    return ErrorCurve(
        threshold=np.concatenate(([np.inf], falling[last_of_ties])),
        bonafide_rejected=np.concatenate(([0.0], rejected / (~spoof).sum())),
        spoof_accepted=np.concatenate(([1.0], 1.0 - detected / spoof.sum())),
    )


def equal_error_rate(score: FloatArray, is_spoof: BoolArray) -> tuple[float, float]:
    """Equal error rate in [0, 1] and its threshold, by the definition of the ASVspoof evaluations.

    The point of the empirical curve where the two rates are nearest to each other, and the mean of both there
    (`compute_eer` of the evaluation packages of ASVspoof 2019, 2021 and 5). It is no interpolation and not the
    convex hull's value, which is a little lower. Differs from those scripts only where scores of both classes
    tie: they part equal scores by their order in the file, which no threshold can.
    """
    curve = error_curve(score, is_spoof)
    # Rates are counts over counts: rounding keeps two equal gaps equal, so that the first one wins everywhere.
    gap = np.round(np.abs(curve.bonafide_rejected - curve.spoof_accepted), 12)
    nearest = int(np.argmin(gap))
    rate = (curve.bonafide_rejected[nearest] + curve.spoof_accepted[nearest]) / 2
    return float(rate), float(curve.threshold[nearest])


def eer_by_kind(score: FloatArray, is_spoof: BoolArray, kinds: TextArray) -> dict[str, float]:
    """The equal error rate of each kind of spoof against all bona fide, by the kind's name in order."""
    rates = {}
    for kind in sorted(set(kinds[is_spoof])):
        part = ~is_spoof | (kinds == kind)
        rates[str(kind)] = equal_error_rate(score[part], is_spoof[part])[0]
    return rates


def roc_auc(score: FloatArray, is_spoof: BoolArray) -> float:
    """Area under the ROC curve: chance that a spoof scores above a bona fide clip, ties counting half."""
    check_two_classes(score, is_spoof)
    return float(roc_auc_score(is_spoof, score))


def min_dcf(score: FloatArray, is_spoof: BoolArray, cost: DetectionCost | None = None) -> float:
    """Least normalised detection cost over all thresholds; 1.0 is what deciding without listening costs.

    ASVspoof 5 evaluation plan, equations 3 and 4.
    """
    curve = error_curve(score, is_spoof)
    return float(_normalised_cost(curve.bonafide_rejected, curve.spoof_accepted, cost or DetectionCost()).min())


def actual_dcf(llr: FloatArray, is_spoof: BoolArray, cost: DetectionCost | None = None) -> float:
    """Normalised detection cost at the Bayes threshold: right only where `llr` (natural log) is calibrated."""
    check_two_classes(llr, is_spoof)
    cost = cost or DetectionCost()
    weight_bonafide = cost.cost_bonafide_rejected * (1 - cost.prior_spoof)
    weight_spoof = cost.cost_spoof_accepted * cost.prior_spoof
    # The evaluation script accepts where the bona fide ratio >= its threshold; turned round, spoof is said above.
    called_spoof = llr > np.log(weight_bonafide / weight_spoof)
    rejected = np.array([called_spoof[~is_spoof].mean()])
    accepted = np.array([1.0 - called_spoof[is_spoof].mean()])
    return float(_normalised_cost(rejected, accepted, cost)[0])


def confusion_at(score: FloatArray, is_spoof: BoolArray, threshold: float) -> Confusion:
    """Counts where "spoof" is said at score >= `threshold`."""
    check_two_classes(score, is_spoof)
    (bonafide_accepted, bonafide_rejected), (spoof_accepted, spoof_detected) = confusion_matrix(
        is_spoof, score >= threshold, labels=[False, True]
    )
    return Confusion(int(spoof_detected), int(spoof_accepted), int(bonafide_rejected), int(bonafide_accepted))


def _normalised_cost(bonafide_rejected: FloatArray, spoof_accepted: FloatArray, cost: DetectionCost) -> FloatArray:
    weight_bonafide = cost.cost_bonafide_rejected * (1 - cost.prior_spoof)
    weight_spoof = cost.cost_spoof_accepted * cost.prior_spoof
    total = weight_bonafide * bonafide_rejected + weight_spoof * spoof_accepted
    return total / min(weight_bonafide, weight_spoof)
