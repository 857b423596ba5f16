"""Running statistics in constant memory, the same however a recording is cut into pieces.

levels = Histogram(low=-120.0, high=20.0, step=0.5)
levels.add(frame_levels)
levels.percentile(10.0)
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class Histogram:
    """How often each value occurred, to the nearest `step`; values beyond the ends count as the ends."""

    def __init__(self, low: float, high: float, step: float) -> None:
        self._low = low
        self._step = step
        self._counts: NDArray[np.int64] = np.zeros(round((high - low) / step) + 1, dtype=np.int64)

    @property
    def count(self) -> int:
        return int(self._counts.sum())

    def add(self, values: NDArray[np.floating]) -> None:
        """Count `values`, shape (count,)."""
        bins = np.rint((values - self._low) / self._step).astype(np.int64)
        self._counts += np.bincount(np.clip(bins, 0, self._counts.size - 1), minlength=self._counts.size)

    def percentile(self, percent: float) -> float:
        """The lowest value that `percent` of them reach or stay below; needs at least one."""
        reached = np.cumsum(self._counts) >= max(self.count * percent / 100.0, 1.0)
        return self._low + int(np.argmax(reached)) * self._step

    def share_above(self, value: float) -> float:
        """Part of the values whose bin lies above `value`, 0 to 1; needs at least one."""
        first = math.floor((value - self._low) / self._step + 1e-9) + 1
        return float(self._counts[max(first, 0) :].sum() / self.count)


@dataclass(slots=True)
class Mean:
    """A mean over everything that was added."""

    count: int = 0
    total: float = 0.0

    def add(self, values: NDArray[np.floating]) -> None:
        self.count += values.size
        self.total += float(values.sum(dtype=np.float64))

    def value(self, fewest: int = 1) -> float | None:
        return self.total / self.count if self.count >= fewest else None


@dataclass(slots=True)
class PooledSpread:
    """Standard deviation within pieces, pooled over them: sqrt(sum of squares within / degrees of freedom).

    What differs from piece to piece (another speaker, another microphone) does not count, so an hour and a clip of
    three seconds can be compared.
    """

    freedom: int = 0
    squares: float = 0.0

    def add(self, values: NDArray[np.floating]) -> None:
        """One piece's values, shape (count,)."""
        if values.size < 2:
            return
        offsets = values.astype(np.float64) - values.mean(dtype=np.float64)
        self.squares += float(np.square(offsets).sum())
        self.freedom += values.size - 1

    def value(self, fewest: int) -> float | None:
        """None where fewer than `fewest` degrees of freedom are behind it."""
        return math.sqrt(self.squares / self.freedom) if self.freedom >= max(fewest, 1) else None
