"""The order of the steps, from a file to a finding. Each step's work is in the module of its name.

    output = examine(Path("clip.mp3"), load_scorer(default_model_path()))

media -> suitability and voice (on the sound as it is) -> windows -> canonical -> scorer -> calibration -> tally ->
policy -> explain. One pass over the recording in constant memory: per window only its scores are kept.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from earwitness.calibration import DEFAULT_PRIOR, posterior
from earwitness.canonical import canonicalise
from earwitness.detector import DetectorOutput
from earwitness.explain import Finding, explain
from earwitness.finding import Abstention, WindowScore
from earwitness.media import MediaLimits, MediaStream, open_media
from earwitness.policy import confidence, decide
from earwitness.scorer import Scorer
from earwitness.suitability import Measurements, SuitabilityMeter, abstentions
from earwitness.tally import Tally
from earwitness.waveform import Samples, sample_count
from earwitness.windows import Window, iter_windows

BATCH_WINDOWS = 8  # 2 MB of sound; larger batches are no faster on a CPU

Progress = Callable[[float], None]
"""Called now and then with the seconds of sound that are done."""


@dataclass(frozen=True, slots=True)
class ExamineOptions:
    limits: MediaLimits = field(default_factory=MediaLimits)
    prior: float = DEFAULT_PRIOR
    batch_windows: int = BATCH_WINDOWS


def examine(
    path: Path, scorer: Scorer, options: ExamineOptions | None = None, progress: Progress | None = None
) -> DetectorOutput:
    """Judge the recording at `path`.

    Where the detector abstains, p_fake, llr and the most suspicious stretch are None and confidence is 0: no
    probability is claimed outside the conditions for which it was validated. The raw score stays, for research.

    Raises `earwitness.errors.InputError` for a recording that can't be read.
    """
    examination = _Examination(scorer, options or ExamineOptions())
    with open_media(path, examination.options.limits) as media:
        batch: list[Window] = []
        for window in iter_windows(examination.heard(media), scorer.spec.window):
            if window.samples.size < sample_count(scorer.spec.min_window_s):
                continue
            batch.append(window)
            if len(batch) == examination.options.batch_windows:
                examination.score(batch)
                batch = []
                if progress is not None:
                    progress(window.end_s)
        if batch:
            examination.score(batch)
        if progress is not None:
            progress(media.decoded_s)
        return examination.conclude(media)


class _Examination:
    """What the steps hand on while one recording is examined."""

    def __init__(self, scorer: Scorer, options: ExamineOptions) -> None:
        self.options = options
        self._scorer = scorer
        self._meter = SuitabilityMeter()
        self._tally = Tally()
        self._watch = _Stopwatch()

    def heard(self, media: MediaStream) -> Iterator[Samples]:
        """The blocks as they come, each one measured before it is passed on."""
        blocks = iter(media)
        while True:
            with self._watch.step("decode"):
                block = next(blocks, None)
            if block is None:
                break
            with self._watch.step("listen"):
                self._meter.push(block)
            yield block
        with self._watch.step("listen"):
            self._meter.finish()

    def score(self, batch: list[Window]) -> None:
        """Score windows of one length and add them to the tally."""
        with self._watch.step("canonical"):
            views = np.stack([canonicalise(window.samples).samples for window in batch])
        with self._watch.step("network"):
            scores = self._scorer.score(views)
        for window, raw, embedding in zip(batch, scores.score, scores.embedding, strict=True):
            llr = self._scorer.spec.calibration.llr(float(raw))
            self._tally.add(
                WindowScore(
                    start_s=window.start_s,
                    end_s=window.end_s,
                    score=float(raw),
                    llr=llr,
                    p_fake=posterior(llr, self.options.prior),
                    speech_share=self._meter.speech_share(window.start_s, window.end_s),
                ),
                embedding,
            )

    def conclude(self, media: MediaStream) -> DetectorOutput:
        spec, tally = self._scorer.spec, self._tally
        measured = self._meter.measurements() if media.info.codec is not None else None
        embedding = tally.embedding()
        ood_distance = None if embedding is None else spec.ood.distance(embedding)
        reasons = self._reasons(measured, ood_distance)
        score = tally.score()
        llr = None if score is None or reasons else spec.calibration.llr(score)
        p_fake = None if llr is None else posterior(llr, self.options.prior)
        stretch = None if p_fake is None else tally.most_suspicious()
        verdict = decide(p_fake, spec.thresholds, reasons)
        finding = Finding(verdict, p_fake, reasons, stretch, len(tally.windows))
        return DetectorOutput(
            verdict=verdict,
            confidence=confidence(p_fake),
            explanations=explain(finding, measured, spec.thresholds),
            signals={} if measured is None else {**asdict(measured), "ood_distance": ood_distance},
            model_version=spec.model_version,
            p_fake=p_fake,
            llr=llr,
            score=score,
            windows=tuple(tally.windows),
            most_suspicious=stretch,
            abstentions=reasons,
            media=media.info,
            duration_s=None if measured is None else measured.duration_s,
            warnings=media.warnings,
            timings_ms=self._watch.timings_ms(),
        )

    def _reasons(self, measured: Measurements | None, ood_distance: float | None) -> tuple[Abstention, ...]:
        if measured is None:
            return (Abstention.NO_AUDIO_TRACK,)
        reasons = abstentions(measured, self._scorer.spec.limits, ood_distance)
        if not self._tally.windows and Abstention.TOO_SHORT not in reasons:
            return (*reasons, Abstention.TOO_SHORT)  # shorter than the graph takes
        return reasons


class _Stopwatch:
    """Wall time by step, and in total since it was made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._spent: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._spent[name] = self._spent.get(name, 0.0) + time.perf_counter() - started

    def timings_ms(self) -> dict[str, float]:
        total = time.perf_counter() - self._started
        return {name: round(spent * 1000.0, 3) for name, spent in (*self._spent.items(), ("total", total))}
