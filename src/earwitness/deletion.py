"""What the log-likelihood ratio becomes without a stretch of the recording: scored again, not guessed.

    evidence = deletions(touched, stretches, windows, scorer=scorer, prior=0.5, speech_share=share)

The stretch is taken out of the windows that it touches (the ends joined over 10 ms), and the network scores what is
left; all other windows keep their scores. A window counts by the speech that is left in it. The cost is a few windows a
stretch, whatever the length of the recording: the sound of the strongest stretches so far is kept while the recording
is heard (`StretchSound`). Where that was not enough, it is decoded once more as far as the end of the last stretch.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from earwitness.calibration import posterior
from earwitness.canonical import canonicalise
from earwitness.finding import WindowScore
from earwitness.grounds import DeletionEvidence, SuspiciousStretch
from earwitness.scorer import Scorer
from earwitness.timeline import Timeline
from earwitness.waveform import Samples, sample_count
from earwitness.windows import Window

MAX_DELETIONS = 3  # a reader follows three experiments, not thirty
LONGEST_DELETED_S = 60.0  # what is longer is no stretch but a chapter, and would be scored nearly anew
WHOLE_SHARE = 0.8  # of the speech: that is no stretch of it any more, and without it little is left to judge
JOIN_SAMPLES = 160  # 10 ms: a click at the joint would be scored, too

SpeechShare = Callable[[float, float], float]
"""Part of the recording between two moments that is speech, 0 to 1."""


def deletable(stretches: Sequence[SuspiciousStretch], speech_s: float) -> tuple[SuspiciousStretch, ...]:
    """The stretches worth the experiment, the weightiest first; none that holds nearly all of the speech."""
    longest_s = min(LONGEST_DELETED_S, WHOLE_SHARE * speech_s)
    short = [stretch for stretch in stretches if stretch.end_s - stretch.start_s <= longest_s]
    return tuple(sorted(short, key=lambda stretch: (-_weight(stretch), stretch.start_s))[:MAX_DELETIONS])


class StretchSound:
    """The windows that the experiments will need, kept while a recording is heard for the first time.

    At most those of `MAX_DELETIONS` stretches of `LONGEST_DELETED_S` and of one under way: 32 MB where windows overlap,
    and a few windows as a rule.
    """

    def __init__(self) -> None:
        self._recent: list[Window] = []
        self._kept: dict[SuspiciousStretch, list[Window]] = {}

    def push(self, window: Window, timeline: Timeline) -> None:
        """Take the next window, which `timeline` has taken too."""
        self._recent.append(window)
        strongest = deletable(timeline.closed(), math.inf)
        self._kept = {
            stretch: self._kept.get(stretch) or [one for one in self._recent if _touches(stretch, one)]
            for stretch in strongest
        }
        since_s = timeline.open_since_s(LONGEST_DELETED_S)
        self._recent = [one for one in self._recent if one.end_s > since_s]

    def kept(self) -> dict[float, Window]:
        """By their start."""
        return {window.start_s: window for windows in (*self._kept.values(), self._recent) for window in windows}

    def touched(
        self, stretches: Sequence[SuspiciousStretch], windows: Sequence[WindowScore]
    ) -> list[Window] | None:
        """Of all `windows` of the recording those that one of `stretches` touches; None where one was not kept."""
        kept = self.kept()
        wanted = [window.start_s for window in windows if any(_touches(stretch, window) for stretch in stretches)]
        if not all(start_s in kept for start_s in wanted):
            return None
        return [kept[start_s] for start_s in wanted]


def deletions(
    sound: Iterable[Window],
    stretches: Sequence[SuspiciousStretch],
    windows: Sequence[WindowScore],
    *,
    scorer: Scorer,
    prior: float,
    speech_share: SpeechShare,
) -> tuple[DeletionEvidence, ...]:
    """One experiment for each of `stretches`, in their order.

    `sound` holds in the order of time at least the windows that a stretch touches, `windows` are the scores of all.
    """
    experiments = [_Experiment(stretch) for stretch in stretches]
    last_s = max((stretch.end_s for stretch in stretches), default=0.0)
    for window in sound:
        if window.start_s >= last_s:
            break
        for experiment in experiments:
            experiment.cut(window, scorer, speech_share)
    return tuple(experiment.conclude(windows, scorer, prior) for experiment in experiments)


@dataclass(slots=True)
class _Experiment:
    stretch: SuspiciousStretch
    rescored: dict[float, tuple[float, float]] = field(default_factory=dict)
    """Start of a window to its weight and score without the stretch."""

    def cut(self, window: Window, scorer: Scorer, speech_share: SpeechShare) -> None:
        """Score `window` again if the stretch touches it."""
        start_s, end_s = self.stretch.start_s, self.stretch.end_s
        if not _touches(self.stretch, window):
            return
        kept = without(
            window.samples, sample_count(start_s - window.start_s), sample_count(end_s - window.start_s)
        )
        weight = _speech_left(window, start_s, end_s, speech_share)
        if kept.size < sample_count(scorer.spec.min_window_s) or weight == 0.0:
            self.rescored[window.start_s] = (0.0, 0.0)
            return
        score = scorer.score(canonicalise(kept).samples[np.newaxis]).score[0]
        self.rescored[window.start_s] = (weight, float(score))

    def conclude(self, windows: Sequence[WindowScore], scorer: Scorer, prior: float) -> DeletionEvidence:
        weights_with = np.array([window.speech_share for window in windows])
        scores_with = np.array([window.score for window in windows])
        left = [self.rescored.get(w.start_s, (w.speech_share, w.score)) for w in windows]
        weights_without = np.array([weight for weight, _ in left])
        scores_without = np.array([score for _, score in left])
        whole, rest = _mean(scores_with, weights_with), _mean(scores_without, weights_without)
        assert whole is not None, "a stretch lies in speech, so some window has speech"
        calibration = scorer.spec.calibration
        llr_with = calibration.llr(whole)
        llr_without = None if rest is None else calibration.llr(rest)
        return DeletionEvidence(
            start_s=self.stretch.start_s,
            end_s=self.stretch.end_s,
            llr_with=llr_with,
            llr_without=llr_without,
            p_fake_with=posterior(llr_with, prior),
            p_fake_without=None if llr_without is None else posterior(llr_without, prior),
            score_with=whole,
            score_without=rest,
        )


def without(samples: Samples, start: int, end: int) -> Samples:
    """`samples` without those from `start` to `end` (either may lie outside), the ends cross-faded over 10 ms."""
    before, after = samples[: max(start, 0)], samples[max(end, 0) :]
    overlap = min(JOIN_SAMPLES, before.size, after.size)
    if overlap == 0:
        return np.concatenate((before, after))
    rising = np.linspace(0.0, 1.0, overlap, dtype=np.float32)
    joint = before[-overlap:] * (1.0 - rising) + after[:overlap] * rising
    return np.concatenate((before[:-overlap], joint.astype(np.float32), after[overlap:]))


def _touches(stretch: SuspiciousStretch, window: Window | WindowScore) -> bool:
    return stretch.start_s < window.end_s and window.start_s < stretch.end_s


def _speech_left(window: Window, start_s: float, end_s: float, speech_share: SpeechShare) -> float:
    """Seconds of speech outside the stretch, over the length of the window."""
    left_s = 0.0
    if start_s > window.start_s:
        left_s += speech_share(window.start_s, start_s) * (start_s - window.start_s)
    if end_s < window.end_s:
        left_s += speech_share(end_s, window.end_s) * (window.end_s - end_s)
    return left_s / (window.end_s - window.start_s)


def _mean(scores: NDArray[np.float64], weights: NDArray[np.float64]) -> float | None:
    total = float(weights.sum())
    return float((scores * weights).sum() / total) if total > 0.0 else None


def _weight(stretch: SuspiciousStretch) -> float:
    assert stretch.weight is not None, "the timeline gives every stretch one"
    return stretch.weight
