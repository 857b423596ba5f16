"""Tandem detection cost (t-DCF): what a spoof detector does for the speaker verification that stands behind it.

    asv = asv_error_rates(target, nontarget, spoof)       # verification scores, higher = the claimed speaker
    cost = min_tdcf_2021(table.score, table.is_spoof, asv)

Two versions, which can't be compared with each other: the one of ASVspoof 2019 (Kinnunen et al., 2018, "t-DCF:
a detection cost function for the tandem assessment of spoofing countermeasures and automatic speaker
verification"), and the revised one of ASVspoof 2021 (Kinnunen et al., 2020, "Tandem assessment of spoofing
countermeasures and automatic speaker verification: fundamentals"). Costs and priors are the challenges'.
"""

from dataclasses import dataclass

import numpy as np

from ml.evaluation.metrics import equal_error_rate, error_curve
from ml.evaluation.scores import BoolArray, EvaluationInputError, FloatArray

PRIOR_SPOOF = 0.05
PRIOR_TARGET = (1.0 - PRIOR_SPOOF) * 0.99
PRIOR_NONTARGET = (1.0 - PRIOR_SPOOF) * 0.01
COST_MISS = 1.0
"""Of rejecting the right speaker, by either half of the tandem."""
COST_FALSE_ALARM = 10.0
"""Of accepting another speaker or a spoof."""


@dataclass(frozen=True, slots=True)
class AsvErrorRates:
    """A speaker verification system at its one operating point; all in [0, 1]."""

    target_rejected: float
    nontarget_accepted: float
    spoof_accepted: float

    def __post_init__(self) -> None:
        rates = (self.target_rejected, self.nontarget_accepted, self.spoof_accepted)
        if not all(0.0 <= rate <= 1.0 for rate in rates):
            raise EvaluationInputError(f"error rates lie in [0, 1], not {rates}: give fractions, no per cent")


def asv_error_rates(target: FloatArray, nontarget: FloatArray, spoof: FloatArray) -> AsvErrorRates:
    """Rates at the equal-error threshold of target against nontarget, as both challenges set it.

    Scores of the verification system, higher = the claimed speaker.
    """
    if len(spoof) == 0:
        raise EvaluationInputError("needs the verification scores of spoofed trials")
    scores = np.concatenate((target, nontarget))
    is_target = np.arange(len(scores)) < len(target)
    # "Rejected" plays the part of spoof: a low verification score speaks for it.
    threshold = -equal_error_rate(-scores, ~is_target)[1]
    return AsvErrorRates(
        target_rejected=float(np.mean(target < threshold)),
        nontarget_accepted=float(np.mean(nontarget >= threshold)),
        spoof_accepted=float(np.mean(spoof >= threshold)),
    )


def min_tdcf_2019(score: FloatArray, is_spoof: BoolArray, asv: AsvErrorRates) -> float:
    """Least normalised t-DCF of ASVspoof 2019; 1.0 where the detector helps nothing."""
    weight_bonafide = (
        PRIOR_TARGET * (COST_MISS - COST_MISS * asv.target_rejected)
        - PRIOR_NONTARGET * COST_FALSE_ALARM * asv.nontarget_accepted
    )
    weight_spoof = COST_FALSE_ALARM * PRIOR_SPOOF * asv.spoof_accepted
    return _least(score, is_spoof, 0.0, weight_bonafide, weight_spoof)


def min_tdcf_2021(score: FloatArray, is_spoof: BoolArray, asv: AsvErrorRates) -> float:
    """Least normalised t-DCF of ASVspoof 2021 (LA and PA). Never 0: the verification's own errors stay in it."""
    verification_alone = (
        PRIOR_TARGET * COST_MISS * asv.target_rejected
        + PRIOR_NONTARGET * COST_FALSE_ALARM * asv.nontarget_accepted
    )
    weight_bonafide = PRIOR_TARGET * COST_MISS - verification_alone
    weight_spoof = PRIOR_SPOOF * COST_FALSE_ALARM * asv.spoof_accepted
    return _least(score, is_spoof, verification_alone, weight_bonafide, weight_spoof)


def _least(
    score: FloatArray, is_spoof: BoolArray, constant: float, weight_bonafide: float, weight_spoof: float
) -> float:
    worst_of_trivial = constant + min(weight_bonafide, weight_spoof)
    if weight_bonafide < 0 or weight_spoof < 0 or worst_of_trivial <= 0:
        raise EvaluationInputError(
            "the t-DCF is not defined for these verification error rates: verification is worse than useless, "
            "or accepts no spoof at all"
        )
    curve = error_curve(score, is_spoof)
    cost = constant + weight_bonafide * curve.bonafide_rejected + weight_spoof * curve.spoof_accepted
    return float(cost.min() / worst_of_trivial)
