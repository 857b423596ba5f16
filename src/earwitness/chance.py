"""How often human speech has a stretch by chance: what a marked stretch is weighed against.

    chance = StretchChance(hop_s=2.0, per_minute=4.0, decay=0.1)
    chance.expected(weight=30.0, minutes=5.0)       # 1.0: as many as there are such recordings

The expected number of chance stretches of at least some weight grows with the length that was searched and falls
exponentially with the weight, as that of chance matches in long sequences does (Karlin & Altschul, 1990, "Methods for
assessing the statistical significance of molecular sequence features by using general scoring schemes"). The numbers
come from the model's spec; nothing is fitted here. `ml.evaluation.chance` measures them on human recordings under
several conditions and takes the most: what is expected is an upper figure.
"""

import math
from dataclasses import dataclass

MAX_EXPECTED = 1.0
"""What human speech of the same length has once or more by chance is no place to listen to."""


@dataclass(frozen=True, slots=True)
class StretchChance:
    hop_s: float
    """Of the windows: frames that two windows heard err less."""
    per_minute: float
    """Stretches of any weight in a minute of human speech, of what it may have gone through the worst."""
    decay: float
    """Of their number, a unit of weight: `exp(-decay * weight)` of them weigh more."""

    def __post_init__(self) -> None:
        if not (self.hop_s > 0 and self.decay > 0 and 0 < self.per_minute < math.inf):
            raise ValueError("stretches by chance need a hop, a rate and a decay above 0")

    def expected(self, weight: float, minutes: float) -> float:
        """Stretches of at least `weight` (as `grounds.SuspiciousStretch` has it) in `minutes` of human speech."""
        return self.per_minute * math.exp(-self.decay * weight) * minutes
