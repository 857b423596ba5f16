"""From a raw score to a likelihood ratio and a probability.

Affine (logistic) calibration, llr = slope * score + intercept (Brummer & du Preez, 2006, "Application-independent
evaluation of speaker detection"); temperature scaling is the case intercept = 0. The numbers come from the model
spec, fitted out of fold by `ml.evaluation.calibrate`; nothing is fitted here.
"""

import math
from dataclasses import dataclass

DEFAULT_PRIOR = 0.5
"""Probability of spoof before hearing the recording, where the user states none."""


@dataclass(frozen=True, slots=True)
class Calibration:
    slope: float
    intercept: float
    llr_min: float
    """The calibration set supports no stronger claim in favour of bona fide speech; llr is capped here."""
    llr_max: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept)):
            raise ValueError("calibration needs finite numbers")
        if self.slope <= 0:
            raise ValueError("slope must be positive: a higher score always means more likely spoof")
        if not self.llr_min < self.llr_max:
            raise ValueError("llr_min must be below llr_max")

    def llr(self, score: float) -> float:
        """Natural-log likelihood ratio of spoof over bona fide, within [llr_min, llr_max]."""
        return min(max(self.slope * score + self.intercept, self.llr_min), self.llr_max)


def posterior(llr: float, prior: float = DEFAULT_PRIOR) -> float:
    """Probability of spoof given `llr` and the prior probability of spoof, both ends of (0, 1) excluded.

    Raises ValueError for a prior outside (0, 1): no evidence moves certainty.
    """
    if not 0.0 < prior < 1.0:
        raise ValueError(f"a prior must lie between 0 and 1, both excluded, not {prior}")
    log_odds = llr + math.log(prior) - math.log1p(-prior)
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    odds = math.exp(log_odds)
    return odds / (1.0 + odds)


def llr_of(probability: float) -> float:
    """The llr that leads to `probability` at a prior of one half; endless at 0 and 1."""
    if probability in (0.0, 1.0):
        return math.copysign(math.inf, probability - 0.5)
    return math.log(probability) - math.log1p(-probability)


def at_even_odds(p_fake: float, prior: float) -> float:
    """What `p_fake`, stated at `prior`, is at a prior of one half."""
    odds = p_fake * (1.0 - prior)
    return odds / (odds + (1.0 - p_fake) * prior)
