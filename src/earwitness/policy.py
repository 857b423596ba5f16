"""From a probability to a verdict: two thresholds, and the reasons for which none is given.

DEEPFAKE    p_fake >= t_high
AUTHENTIC   p_fake <= t_low
SUSPICIOUS  between them, and whenever the detector abstains
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from earwitness.finding import Abstention, Verdict, WindowScore


@dataclass(frozen=True, slots=True)
class Thresholds:
    t_low: float
    t_high: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.t_low < self.t_high <= 1.0:
            raise ValueError(f"need 0 <= t_low < t_high <= 1, not {self.t_low} and {self.t_high}")


def decide(p_fake: float | None, thresholds: Thresholds, abstentions: Collection[Abstention] = ()) -> Verdict:
    """The verdict on `p_fake`; None where nothing could be scored."""
    if abstentions or p_fake is None:
        return Verdict.SUSPICIOUS
    if p_fake >= thresholds.t_high:
        return Verdict.DEEPFAKE
    if p_fake <= thresholds.t_low:
        return Verdict.AUTHENTIC
    return Verdict.SUSPICIOUS


def unjudged(window: WindowScore) -> WindowScore:
    """No probability is claimed for a part of a recording where none is for the whole: the raw score stays."""
    return replace(window, llr=None, p_fake=None)


def confidence(p_fake: float | None) -> float:
    """Probability of the likelier of the two propositions; 0.0 where nothing could be evaluated."""
    return 0.0 if p_fake is None else max(p_fake, 1.0 - p_fake)
