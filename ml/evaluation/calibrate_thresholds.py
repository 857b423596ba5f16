"""Choose T_low and T_high for stated error rates, and say what they do to a table.

    chosen = choose_thresholds(p_fake, table.is_spoof, ThresholdGoal())
    chosen.thresholds, chosen.reason, chosen.outcome.suspicious_share

DEEPFAKE is said from T_high up, AUTHENTIC from T_low down (`earwitness.policy`). A rate is held when its upper
confidence bound is within the goal (Clopper & Pearson, 1934): 2 % seen on 50 clips is no promise of 2 %. The bound
counts clips as independent; clips of one source are not, so let the goal leave some room.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from earwitness.policy import Thresholds
from ml.evaluation.metrics import check_two_classes
from ml.evaluation.scores import BoolArray, EvaluationInputError, FloatArray

MIN_HALF_BAND = 0.05
"""T_high is at least 0.5 + this and T_low at most 0.5 - this: nothing is called DEEPFAKE that is not clearly
likelier to be one, and the band never closes, however good the detector is on its calibration set."""


LOWEST_T_HIGH = 0.5 + MIN_HALF_BAND


@dataclass(frozen=True, slots=True)
class ThresholdGoal:
    max_bonafide_called_deepfake: float = 0.02
    max_spoof_called_authentic: float = 0.05
    max_bonafide_called_deepfake_degraded: float = 0.04
    """In each condition other than clean: recordings come through messengers and telephones."""
    certainty: float | None = 0.95
    """One-sided confidence that the true rates are within the goal; None takes the observed rate itself."""

    def __post_init__(self) -> None:
        rates = (
            self.max_bonafide_called_deepfake,
            self.max_spoof_called_authentic,
            self.max_bonafide_called_deepfake_degraded,
        )
        for rate in rates:
            if not 0.0 < rate < 1.0:
                raise EvaluationInputError(f"a goal for an error rate lies between 0 and 1, not {rate}")
        if self.certainty is not None and not 0.0 < self.certainty < 1.0:
            raise EvaluationInputError(f"certainty must lie between 0 and 1, not {self.certainty}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a set of decisions came to. Shares in [0, 1]; an empty share is 0.0."""

    bonafide: int
    spoof: int
    bonafide_called_deepfake: float
    bonafide_called_authentic: float
    spoof_called_deepfake: float
    spoof_called_authentic: float
    suspicious_share: float
    decided_share: float
    wrong_among_decided: float


@dataclass(frozen=True, slots=True)
class ChosenThresholds:
    thresholds: Thresholds
    reason: str
    """For `ModelSpec.thresholds_chosen`."""
    outcome: Outcome
    bonafide_called_deepfake_at_most: float
    """Upper confidence bound at the goal's certainty (the observed rate where it has none)."""
    spoof_called_authentic_at_most: float


def upper_bound_of_rate(errors: int, n: int, certainty: float | None) -> float:
    """One-sided upper Clopper-Pearson bound of a rate, `errors` seen in `n`; None gives errors / n."""
    if certainty is None:
        return errors / n
    return 1.0 if errors >= n else float(beta.ppf(certainty, errors + 1, n - errors))


def choose_thresholds(
    p_fake: FloatArray, is_spoof: BoolArray, goal: ThresholdGoal, *, t_high_at_least: float = LOWEST_T_HIGH
) -> ChosenThresholds:
    """The narrowest SUSPICIOUS band that keeps both error rates within `goal` on these probabilities.

    `p_fake` at the prior at which verdicts will be made, from a calibration not fitted on these clips. Raises
    EvaluationInputError where the table is too small for the goal, or no threshold can reach it.
    """
    check_two_classes(p_fake, is_spoof)
    bonafide, spoof = p_fake[~is_spoof], p_fake[is_spoof]
    allowed_rejected = allowed_errors(
        len(bonafide), goal.max_bonafide_called_deepfake, goal.certainty, "bona fide"
    )
    allowed_accepted = allowed_errors(len(spoof), goal.max_spoof_called_authentic, goal.certainty, "spoof")
    t_high = max(_lowest_threshold(bonafide, p_fake, allowed_rejected, "DEEPFAKE"), t_high_at_least)
    # AUTHENTIC is the same question asked of 1 - p_fake.
    t_low = min(
        1.0 - _lowest_threshold(1.0 - spoof, 1.0 - p_fake, allowed_accepted, "AUTHENTIC"), 0.5 - MIN_HALF_BAND
    )
    thresholds = Thresholds(t_low=t_low, t_high=t_high)
    outcome = outcome_of(p_fake, is_spoof, thresholds)
    rejected_at_most = upper_bound_of_rate(int(np.sum(bonafide >= t_high)), len(bonafide), goal.certainty)
    accepted_at_most = upper_bound_of_rate(int(np.sum(spoof <= t_low)), len(spoof), goal.certainty)
    sure = "observed" if goal.certainty is None else f"{goal.certainty:.0%} upper bound"
    reason = (
        f"t_high: at most {goal.max_bonafide_called_deepfake:.1%} of bona fide called DEEPFAKE "
        f"({sure} {rejected_at_most:.2%} on {len(bonafide)} clips); "
        f"t_low: at most {goal.max_spoof_called_authentic:.1%} of spoof called AUTHENTIC "
        f"({sure} {accepted_at_most:.2%} on {len(spoof)} clips); "
        f"{outcome.suspicious_share:.1%} SUSPICIOUS"
    )
    return ChosenThresholds(thresholds, reason, outcome, rejected_at_most, accepted_at_most)


def outcome_of(
    p_fake: FloatArray, is_spoof: BoolArray, thresholds: Thresholds, abstained: BoolArray | None = None
) -> Outcome:
    """Shares of the three verdicts by class; `abstained` clips are SUSPICIOUS whatever their p_fake."""
    judged = np.ones(len(p_fake), dtype=np.bool_) if abstained is None else ~abstained
    return outcome_of_verdicts(
        judged & (p_fake >= thresholds.t_high), judged & (p_fake <= thresholds.t_low), is_spoof
    )


def outcome_of_verdicts(deepfake: BoolArray, authentic: BoolArray, is_spoof: BoolArray) -> Outcome:
    """Shares from verdicts that were made already; what is neither DEEPFAKE nor AUTHENTIC is SUSPICIOUS."""
    decided = int(deepfake.sum() + authentic.sum())
    wrong = int((deepfake & ~is_spoof).sum() + (authentic & is_spoof).sum())
    return Outcome(
        bonafide=int((~is_spoof).sum()),
        spoof=int(is_spoof.sum()),
        bonafide_called_deepfake=_share(deepfake[~is_spoof]),
        bonafide_called_authentic=_share(authentic[~is_spoof]),
        spoof_called_deepfake=_share(deepfake[is_spoof]),
        spoof_called_authentic=_share(authentic[is_spoof]),
        suspicious_share=1.0 - decided / len(is_spoof) if len(is_spoof) else 0.0,
        decided_share=decided / len(is_spoof) if len(is_spoof) else 0.0,
        wrong_among_decided=wrong / decided if decided else 0.0,
    )


def _share(called: BoolArray) -> float:
    return float(called.mean()) if len(called) else 0.0


def allowed_errors(n: int, rate: float, certainty: float | None, name: str) -> int:
    """The greatest number of errors in `n` clips that still keeps the bound within `rate`."""
    if upper_bound_of_rate(0, n, certainty) > rate:
        raise EvaluationInputError(
            f"{n} {name} clips are too few to promise an error rate of {rate:.1%}, even without one error: "
            "hold out more of them, or relax the goal"
        )
    allowed = 0
    while upper_bound_of_rate(allowed + 1, n, certainty) <= rate:
        allowed += 1
    return allowed


def _lowest_threshold(wronged: FloatArray, everyone: FloatArray, allowed: int, verdict: str) -> float:
    """The lowest threshold that at most `allowed` of `wronged` reach: half way to the next value in the table."""
    blocking = np.sort(wronged)[::-1][allowed]
    above = everyone[everyone > blocking]
    if len(above) == 0:
        raise EvaluationInputError(
            f"{verdict} could never be said within the goal: more bad cases lie at the end of the scale than it "
            "allows (the llr caps may tie them): relax the goal or mend the detector"
        )
    middle = float((blocking + above.min()) / 2)
    return middle if middle > blocking else float(above.min())  # neighbouring floats have no middle
