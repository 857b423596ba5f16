"""Where in a recording the evidence lies: frame scores of 160 ms, merged into suspicious stretches as they come.

    timeline = Timeline(calibration, thresholds, prior, chance)
    timeline.add(start_s, window_score, frame_scores, frame_hop_s, speech_share)      # window by window, in order
    found = timeline.finish(duration_s, speech_share)
    found.stretches, found.curve, found.agreement_share

The network scores a window and, more roughly, its frames. What counts is the window's score: a frame adds how far it
lies from the mean of its window's frames. Frames of overlapping windows are averaged on one grid of 160 ms, smoothed
over three, calibrated like any score, and merged where they point to synthesis. What human speech of the same length
has as well by chance is left out (`chance`). Constant memory: a frame is final when no later window can reach it, the
curve halves its resolution when it is full, and of the stretches the heaviest are kept.
"""

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from earwitness.calibration import Calibration, llr_of, posterior
from earwitness.chance import MAX_EXPECTED, StretchChance
from earwitness.grounds import FrameCurve, SuspiciousStretch
from earwitness.policy import Thresholds

FRAME_S = 0.16  # the network's own frame: a syllable
SPOKEN_SHARE = 0.5  # of a frame; less is a pause, which says nothing
SMOOTHED = 3  # frames, half a second: single frames err
LONGEST_GAP = 3  # frames between two parts of one stretch: a short word, a breath
SHORTEST_STRETCH = 3  # frames: less can't be told from chance
MAX_STRETCHES = 100  # of three hours; more is no list that anybody reads
MAX_CURVE_POINTS = 4_096  # eleven minutes at full resolution
LLR_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class TimelineFound:
    stretches: tuple[SuspiciousStretch, ...]
    """In the order of time."""
    left_out: int
    """How many more there were that chance explains, and their length."""
    left_out_s: float
    curve: FrameCurve
    agreement_share: float | None
    """Part of the frames of speech on the side of their majority, 0.5 to 1; None without speech."""


class Timeline:
    def __init__(
        self, calibration: Calibration, thresholds: Thresholds, prior: float, chance: StretchChance | None = None
    ) -> None:
        """A stretch goes on while its frames point to synthesis, and counts if one reaches `thresholds.t_high`.

        Both by what the sound itself supports, at a prior of one half; `prior` is that of the strength stated.
        Of those that count `finish` leaves out what `chance` expects `MAX_EXPECTED` times or more; none without it."""
        self._calibration = calibration
        self._chance = chance
        self._merger = _Merger(thresholds.t_high, prior)
        self._curve = _Curve()
        self._pending: dict[int, _Cell] = {}
        self._final = 0  # cells before this one are done
        self._recent: list[float | None] = []  # the last cells, for smoothing
        self._to_spoof = 0
        self._spoken = 0

    def add(
        self,
        start_s: float,
        score: float,
        frame_scores: NDArray[np.float32],
        frame_hop_s: float,
        speech_share: Callable[[float, float], float],
    ) -> None:
        """Take the next window: its raw score and those of its frames, shape (frames,), one every `frame_hop_s`.

        `speech_share` tells which part of a stretch of the recording is speech, 0 to 1.
        """
        self._settle(math.floor(start_s / FRAME_S + 1e-9), speech_share)
        offset = score - float(frame_scores.mean(dtype=np.float64)) if frame_scores.size else score
        for index, frame_score in enumerate(frame_scores if frame_scores.size else np.zeros(1)):
            middle_s = start_s + (index + 0.5) * frame_hop_s
            cell = self._pending.setdefault(math.floor(middle_s / FRAME_S + 1e-9), _Cell())
            cell.total += float(frame_score) + offset
            cell.count += 1

    @property
    def spoken_minutes(self) -> float:
        """What was searched so far: the frames of speech that are final."""
        return self._spoken * FRAME_S / 60.0

    def closed(self) -> tuple[SuspiciousStretch, ...]:
        """The stretches that no later window can change, in no order, those that chance explains among them."""
        return self._merger.closed()

    def open_since_s(self, longest_s: float) -> float:
        """Where the first stretch that is not closed may begin: what lies before says nothing new. One that is longer
        than `longest_s` already does not count."""
        return self._merger.open_since(math.floor(longest_s / FRAME_S)) * FRAME_S

    def finish(self, duration_s: float, speech_share: Callable[[float, float], float]) -> TimelineFound:
        """Call once, after the last window; no stretch ends after `duration_s`."""
        self._settle(max(self._pending, default=self._final - 1) + 1, speech_share)
        if self._recent:  # the last one has no neighbour after it
            self._emit(None if self._recent[-1] is None else _mean(self._recent))
        share = self._to_spoof / self._spoken if self._spoken else None
        found = self._weighed(self._merger.finish(duration_s))
        marked = tuple(stretch for stretch in found if not _is_common(stretch))
        left_out = [stretch.end_s - stretch.start_s for stretch in found if _is_common(stretch)]
        # What was not kept is lighter than what was: where chance explains one of these it explains those.
        more, more_s = self._merger.dropped if left_out else (0, 0.0)
        return TimelineFound(
            stretches=marked,
            left_out=len(left_out) + more,
            left_out_s=sum(left_out) + more_s,
            curve=self._curve.finish(),
            agreement_share=None if share is None else max(share, 1.0 - share),
        )

    def _weighed(self, found: tuple[SuspiciousStretch, ...]) -> tuple[SuspiciousStretch, ...]:
        """With what chance expects, where that is known."""
        if self._chance is None:
            return found
        weighed = []
        for stretch in found:
            assert stretch.weight is not None, "every stretch that is found here has one"
            expected = self._chance.expected(stretch.weight, self.spoken_minutes)
            weighed.append(replace(stretch, expected_by_chance=expected))
        return tuple(weighed)

    def _settle(self, until: int, speech_share: Callable[[float, float], float]) -> None:
        """Cells before `until` get no more scores: smooth and merge them."""
        for index in range(self._final, until):
            cell = self._pending.pop(index, None)
            # A cell on the edge may lie before `_final` where a hop is no multiple of 160 ms: its window is the same.
            spoken = cell is not None and speech_share(index * FRAME_S, (index + 1) * FRAME_S) >= SPOKEN_SHARE
            self._push(cell.total / cell.count if cell is not None and spoken else None)
        self._final = max(self._final, until)

    def _push(self, score: float | None) -> None:
        self._recent.append(score)
        if len(self._recent) >= 2:
            middle = self._recent[-2]
            self._emit(None if middle is None else _mean(self._recent[-SMOOTHED:]))
        del self._recent[: -SMOOTHED + 1]

    def _emit(self, score: float | None) -> None:
        llr = None if score is None else self._calibration.llr(score)
        if llr is not None:
            self._spoken += 1
            self._to_spoof += llr > 0.0
        self._curve.add(llr)
        self._merger.add(llr)


def _is_common(stretch: SuspiciousStretch) -> bool:
    return stretch.expected_by_chance is not None and stretch.expected_by_chance >= MAX_EXPECTED


@dataclass(slots=True)
class _Cell:
    total: float = 0.0
    count: int = 0


def _mean(scores: list[float | None]) -> float:
    """Of those that are there; a pause beside a frame does not weaken it."""
    present = [score for score in scores if score is not None]
    return sum(present) / len(present)


class _Merger:
    """Neighbouring frames that point to synthesis as stretches; a gap of a few frames is bridged."""

    def __init__(self, reaches: float, prior: float) -> None:
        self._reaches = reaches
        self._half_llr = llr_of(reaches) / 2.0
        self._prior = prior
        self._index = 0
        self._open: _Open | None = None
        self._kept: list[tuple[float, float, SuspiciousStretch]] = []  # a heap, the lightest first
        self.dropped = (0, 0.0)
        """How many were lighter than all that are kept, and their length in seconds."""

    def add(self, llr: float | None) -> None:
        index, self._index = self._index, self._index + 1
        if llr is not None and llr >= 0.0:
            if self._open is None:
                self._open = _Open(first=index, last=index)
            self._open.take(index, llr, posterior(llr, self._prior), llr - self._half_llr)
        elif self._open is not None and index - self._open.last > LONGEST_GAP:
            self._close()

    def closed(self) -> tuple[SuspiciousStretch, ...]:
        return tuple(stretch for _, _, stretch in self._kept)

    def open_since(self, longest: int) -> int:
        """The first frame of the stretch under way where it has no more than `longest` frames, else the next frame."""
        if self._open is None or self._open.last - self._open.first + 1 > longest:
            return self._index
        return self._open.first

    def finish(self, duration_s: float) -> tuple[SuspiciousStretch, ...]:
        self._close()
        in_time = sorted((stretch for _, _, stretch in self._kept), key=lambda stretch: stretch.start_s)
        return tuple(replace(stretch, end_s=min(stretch.end_s, duration_s)) for stretch in in_time)

    def _close(self) -> None:
        run, self._open = self._open, None
        if run is None or posterior(run.peak_llr) < self._reaches or run.last - run.first + 1 < SHORTEST_STRETCH:
            return
        stretch = run.stretch()
        # Heaps compare by weight, then by time: of equals the earlier one stays.
        heapq.heappush(self._kept, (run.weight, -stretch.start_s, stretch))
        if len(self._kept) > MAX_STRETCHES:
            _, _, lightest = heapq.heappop(self._kept)
            count, length_s = self.dropped
            self.dropped = (count + 1, length_s + lightest.end_s - lightest.start_s)


@dataclass(slots=True)
class _Open:
    """A stretch under way: sums, whatever its length."""

    first: int
    last: int
    count: int = 0
    total_llr: float = 0.0
    total_p: float = 0.0
    peak_llr: float = -math.inf
    peak: int = 0
    ending_here: float = 0.0
    """Weight of the heaviest part that ends with the last frame, and of the heaviest of all parts: what is added to a
    stretch never makes it lighter."""
    weight: float = 0.0

    def take(self, index: int, llr: float, p_fake: float, beyond: float) -> None:
        self.last = index
        self.count += 1
        self.total_llr += llr
        self.total_p += p_fake
        if llr > self.peak_llr:
            self.peak, self.peak_llr = index, llr
        self.ending_here = max(self.ending_here, 0.0) + beyond
        self.weight = max(self.weight, self.ending_here)

    def stretch(self) -> SuspiciousStretch:
        return SuspiciousStretch(
            start_s=round(self.first * FRAME_S, 3),
            end_s=round((self.last + 1) * FRAME_S, 3),
            strength=self.total_p / self.count,
            llr=self.total_llr / self.count,
            peak_s=round((self.peak + 0.5) * FRAME_S, 3),
            weight=self.weight,
        )


class _Curve:
    """All frames, at half the resolution whenever there are too many: the higher of two neighbours stays."""

    def __init__(self) -> None:
        self._points: list[float | None] = []
        self._per_point = 1
        self._held: list[float | None] = []

    def add(self, llr: float | None) -> None:
        self._held.append(llr)
        if len(self._held) < self._per_point:
            return
        self._points.append(_highest(self._held))
        self._held = []
        if len(self._points) == MAX_CURVE_POINTS:
            self._points = [_highest(self._points[at : at + 2]) for at in range(0, MAX_CURVE_POINTS, 2)]
            self._per_point *= 2

    def finish(self) -> FrameCurve:
        points = [*self._points, _highest(self._held)] if self._held else self._points
        return FrameCurve(hop_s=round(FRAME_S * self._per_point, 3), llr=tuple(points))


def _highest(llrs: list[float | None]) -> float | None:
    present = [llr for llr in llrs if llr is not None]
    return round(max(present), LLR_DECIMALS) if present else None
