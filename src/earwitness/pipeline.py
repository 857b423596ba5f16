"""The order of the steps, from a file to a finding. Each step's work is in the module of its name.

    output = examine(Path("clip.mp3"), load_scorer(default_model_path()))

media -> suitability and voice, and signals (on the sound as it is) -> windows -> canonical -> scorer -> calibration ->
tally and timeline -> policy -> deletion -> explain. One pass over the recording in constant memory: per window only
its scores are kept, and the sound of the strongest suspicious stretches so far, which the recording is scored without.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from earwitness.calibration import DEFAULT_PRIOR, posterior
from earwitness.canonical import canonicalise
from earwitness.deletion import StretchSound, deletable, deletions
from earwitness.detector import DetectorOutput, Progress
from earwitness.explain import AtPrior, Finding, explain
from earwitness.finding import Abstention, MediaInfo, WindowScore
from earwitness.grounds import ByChance, DeletionEvidence, Explanation, Grounds, SuspiciousStretch
from earwitness.media import MediaLimits, MediaStream, open_media
from earwitness.policy import confidence, decide, unjudged
from earwitness.scorer import Scorer
from earwitness.signals import Listener
from earwitness.signals.meter import Context
from earwitness.signals.usual import UsualRanges, load_usual_ranges
from earwitness.suitability import Measurements, SuitabilityMeter, abstentions, carried_hz
from earwitness.tally import Tally
from earwitness.timeline import Timeline, TimelineFound
from earwitness.waveform import Samples, sample_count
from earwitness.windows import LONG_RECORDING_S, Window, WindowPlan, iter_windows, plan_for

BATCH_WINDOWS = 8  # 2 MB of sound; larger batches are no faster on a CPU


@dataclass(frozen=True, slots=True)
class ExamineOptions:
    limits: MediaLimits = field(default_factory=MediaLimits)
    prior: float = DEFAULT_PRIOR
    batch_windows: int = BATCH_WINDOWS
    grounds: bool = True
    """Whether to measure signals and find suspicious stretches; a scan of thousands wants scores alone."""
    deletions: bool = True
    """Whether to score the recording without its suspicious stretches, too."""
    long_recording_s: float = LONG_RECORDING_S
    """From this declared length on windows do not overlap."""
    usual_ranges: UsualRanges | None = field(default_factory=load_usual_ranges)
    """What the signals are compared with."""


def examine(
    path: Path, scorer: Scorer, options: ExamineOptions | None = None, progress: Progress | None = None
) -> DetectorOutput:
    """Judge the recording at `path`.

    Where the detector abstains, p_fake, llr and the most suspicious stretch are None and confidence is 0: no
    probability is claimed outside the conditions for which it was validated. The raw score stays, for research.

    Raises `earwitness.errors.InputError` for a recording that can't be read.
    """
    options = options or ExamineOptions()
    with open_media(path, options.limits) as media:
        plan = plan_for(scorer.spec.window, media.info.declared_duration_s, options.long_recording_s)
        examination = _Examination(scorer, options, plan)
        batch: list[Window] = []
        for window in iter_windows(examination.heard(media), plan):
            if window.samples.size < sample_count(scorer.spec.min_window_s):
                continue
            batch.append(window)
            if len(batch) == options.batch_windows:
                examination.score(batch)
                batch = []
                if progress is not None:
                    progress(window.end_s, media.info.declared_duration_s)
        if batch:
            examination.score(batch)
        if progress is not None:
            progress(media.decoded_s, media.info.declared_duration_s)
        return examination.conclude(media, path)


class _Examination:
    """What the steps hand on while one recording is examined."""

    def __init__(self, scorer: Scorer, options: ExamineOptions, plan: WindowPlan) -> None:
        self.options = options
        self._plan = plan
        self._scorer = scorer
        self._meter = SuitabilityMeter()
        self._tally = Tally()
        self._listener = Listener() if options.grounds else None
        spec = scorer.spec
        chance = spec.chance_at(plan.hop_s)
        self._timeline = Timeline(spec.calibration, spec.thresholds, options.prior, chance)
        self._stretch_sound = StretchSound() if options.grounds and options.deletions else None
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
                spoken = self._meter.push(block)
            if self._listener is not None:
                with self._watch.step("signals"):
                    self._listener.push(block, spoken)
            yield block
        with self._watch.step("listen"):
            spoken = self._meter.finish()
        if self._listener is not None:
            with self._watch.step("signals"):
                self._listener.finish(spoken)

    def score(self, batch: list[Window]) -> None:
        """Score windows of one length and add them to the tally."""
        with self._watch.step("canonical"):
            views = np.stack([canonicalise(window.samples).samples for window in batch])
        with self._watch.step("network"):
            scores = self._scorer.score(views)
        for window, raw, frames, embedding in zip(
            batch, scores.score, scores.frame_scores, scores.embedding, strict=True
        ):
            if self.options.grounds:
                hop_s = self._scorer.spec.frame_hop_s
                self._timeline.add(window.start_s, float(raw), frames, hop_s, self._meter.speech_share)
                if self._stretch_sound is not None:
                    self._stretch_sound.push(window, self._timeline)
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

    def conclude(self, media: MediaStream, path: Path) -> DetectorOutput:
        spec, tally = self._scorer.spec, self._tally
        measured = self._measured(media.info)
        embedding = tally.embedding()
        ood_distance = None if embedding is None else spec.ood.distance(embedding)
        reasons = self._reasons(measured, ood_distance)
        score = tally.score()
        llr = None if score is None or reasons else spec.calibration.llr(score)
        p_fake = None if llr is None else posterior(llr, self.options.prior)
        stretch = None if p_fake is None else tally.most_suspicious()
        verdict = decide(p_fake, spec.thresholds, reasons)
        finding = Finding(
            verdict,
            p_fake,
            reasons,
            stretch,
            len(tally.windows),
            codec=media.info.codec,
            channels_cancel=media.channels.cancelled,
            at_prior=self._at_prior(llr),
        )
        timeline = self._timeline.finish(media.decoded_s, self._meter.speech_share)
        if self._listener is not None and measured is not None:
            context = Context(media.info, measured, ood_distance, timeline.agreement_share)
            finding = self._ground(finding, context, timeline, path)
        sentences = explain(finding, measured, spec.thresholds)
        flat = {} if measured is None else {**asdict(measured), "ood_distance": ood_distance}
        return DetectorOutput(
            verdict=verdict,
            confidence=confidence(p_fake),
            explanations=tuple(sentence.text for sentence in sentences),
            signals={**flat, **{signal.name: signal.value for signal in finding.signals}},
            model_version=spec.model_version,
            p_fake=p_fake,
            llr=llr,
            score=score,
            windows=tuple(tally.windows if p_fake is not None else map(unjudged, tally.windows)),
            most_suspicious=stretch,
            abstentions=reasons,
            media=media.info,
            duration_s=None if measured is None else measured.duration_s,
            warnings=media.warnings,
            timings_ms=self._watch.timings_ms(),
            grounds=self._grounds(finding, sentences, timeline) if self.options.grounds else None,
        )

    def _measured(self, info: MediaInfo) -> Measurements | None:
        if info.codec is None:
            return None
        measured = self._meter.measurements()
        if measured.bandwidth_hz is None:
            return measured
        return replace(measured, bandwidth_hz=min(measured.bandwidth_hz, carried_hz(info)))

    def _at_prior(self, llr: float | None) -> AtPrior | None:
        if llr is None or self.options.prior == DEFAULT_PRIOR:
            return None
        return AtPrior(self.options.prior, llr, decide(posterior(llr), self._scorer.spec.thresholds))

    def _ground(self, finding: Finding, context: Context, timeline: TimelineFound, path: Path) -> Finding:
        """The finding with its signals beside what is usual, its stretches and the experiments without them."""
        assert self._listener is not None
        signals, ranges = self._listener.signals(context), self.options.usual_ranges
        if ranges is not None:
            signals = ranges.beside(signals, context.measured.bandwidth_hz, self._scorer.spec.graph_sha256)
        if finding.p_fake is None:  # no probability is claimed for a part where none is for the whole
            return replace(finding, signals=signals)
        worth = deletable(timeline.stretches, context.measured.speech_s)
        return replace(
            finding,
            signals=signals,
            stretches=timeline.stretches,
            left_out_s=timeline.left_out_s,
            deletions=self._without(worth, path),
        )

    def _without(self, stretches: tuple[SuspiciousStretch, ...], path: Path) -> tuple[DeletionEvidence, ...]:
        """The recording scored without each of them; decoded again where their sound was not kept."""
        if not stretches or self._stretch_sound is None:
            return ()
        with self._watch.step("deletion"):
            touched = self._stretch_sound.touched(stretches, self._tally.windows)
            if touched is not None:
                return self._deletions(touched, stretches)
            with open_media(path, self.options.limits) as media:
                return self._deletions(iter_windows(media, self._plan), stretches)

    def _deletions(
        self, sound: Iterable[Window], stretches: tuple[SuspiciousStretch, ...]
    ) -> tuple[DeletionEvidence, ...]:
        return deletions(
            sound,
            stretches,
            self._tally.windows,
            scorer=self._scorer,
            prior=self.options.prior,
            speech_share=self._meter.speech_share,
        )

    def _grounds(self, finding: Finding, sentences: tuple[Explanation, ...], timeline: TimelineFound) -> Grounds:
        ranges = self.options.usual_ranges
        return Grounds(
            signals=finding.signals,
            explanations=sentences,
            stretches=finding.stretches,
            by_chance=None if finding.p_fake is None else self._by_chance(timeline),
            deletions=finding.deletions,
            frames=None if finding.p_fake is None else timeline.curve,
            usual_ranges_version=None if ranges is None else ranges.version,
        )

    def _by_chance(self, timeline: TimelineFound) -> ByChance | None:
        chance = self._scorer.spec.chance_at(self._plan.hop_s)
        if chance is None:
            return None
        return ByChance(self._timeline.spoken_minutes, **asdict(chance), left_out=timeline.left_out)

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
