"""What scoring a recording again under altered conditions came to: plain values. `earwitness.robustness` makes them."""

from dataclasses import dataclass

from earwitness.finding import Verdict


@dataclass(frozen=True, slots=True)
class Trial:
    id: str
    title: str
    score: float
    llr: float
    p_fake: float
    verdict: Verdict
    flipped: bool
    """The verdict is another one than that of the same sound unaltered."""


@dataclass(frozen=True, slots=True)
class Panel:
    windows: int
    sound_s: float
    """Sound that was scored again, overlaps counted twice."""
    unaltered: Trial
    trials: tuple[Trial, ...]
    llr_low: float
    """Over all trials, the unaltered one included."""
    llr_high: float
    flips: int
