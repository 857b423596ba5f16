"""How often human speech has a stretch by chance: what a marked stretch is weighed against.

    chance = StretchChance(hop_s=2.0, per_minute=4.4, heavy_per_minute=2.2, decay=0.15)
    chance.expected(weight=20.0, minutes=5.0)       # 0.5: once in two human recordings of this length

The expected number of chance stretches of at least some weight grows with the length that was searched and falls
exponentially with the weight, as that of chance matches in long sequences does (Karlin & Altschul, 1990, "Methods for
assessing the statistical significance of molecular sequence features by using general scoring schemes"). The numbers
come from the model's spec, measured on human recordings by `ml.evaluation.chance`; nothing is fitted here.
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
    """Stretches of any weight in a minute of human speech."""
    heavy_per_minute: float
    """Of them those whose weight is above 0."""
    decay: float
    """Of their number, a unit of weight: `exp(-decay * weight)` of the heavy ones weigh more."""

    def __post_init__(self) -> None:
        if not (self.hop_s > 0 and self.decay > 0 and 0 < self.heavy_per_minute <= self.per_minute < math.inf):
            raise ValueError("stretches by chance need a hop, a decay and two rates above 0, the first no smaller")

    def expected(self, weight: float, minutes: float) -> float:
        """Stretches of at least `weight` (as `grounds.SuspiciousStretch` has it) in `minutes` of human speech."""
        rate = self.per_minute if weight <= 0.0 else self.heavy_per_minute * math.exp(-self.decay * weight)
        return rate * minutes
