"""The whole table for one model on one split: scored (or read back), judged, summarised, written, shown.

    report = evaluate(graph, clips, Path("runs/a/evaluation"), "dev", ScoringOptions())
    print(report.text)

Score tables are named by the graph they come from, so that a new calibration reads them back and a new graph
doesn't.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import numpy as np

from earwitness.model_spec import ModelSpec, load_spec
from earwitness.scorer import load_scorer
from earwitness.vad import CHUNK_SAMPLES, VoiceDetector
from earwitness.waveform import sample_count
from ml.datasets.manifest import Clip
from ml.evaluation import summary_goals
from ml.evaluation.atomic_write import write_text
from ml.evaluation.judge import Judged, judge
from ml.evaluation.page import report_page, write_page
from ml.evaluation.score_clips import Scored, read_scored, score_clips, write_scored
from ml.evaluation.scores import CLEAN
from ml.evaluation.summary import Summary, summarise
from ml.evaluation.summary_goals import JudgedGoal, judge_goals
from ml.evaluation.summary_text import summary_text
from ml.provenance import git_revision, machine

COST_REPETITIONS = 30
LLR_ORIGIN = "calibrated on clips held out of training; these clips were never fitted on"


@dataclass(frozen=True, slots=True)
class Report:
    summary: Summary
    goals: tuple[JudgedGoal, ...]
    judged: Judged
    text: str
    json_path: Path
    page_path: Path


@dataclass(frozen=True, slots=True)
class ScoringOptions:
    conditions: Sequence[str] = (CLEAN,)
    jobs: int = 2
    """Processes."""
    seed: int = 1
    """Of what a condition draws at random, and of the confidence intervals."""
    quiet: bool = False


def scored_split(graph: Path, clips: Sequence[Clip], folder: Path, name: str, options: ScoringOptions) -> Scored:
    """The scores of `clips`, read back where this graph was scored on these very clips and conditions before."""
    what = (
        load_spec(graph).graph_sha256,
        options.seed,
        list(options.conditions),
        [astuple(clip) for clip in clips],
    )
    stem = folder / f"{name}-{hashlib.sha256(repr(what).encode()).hexdigest()[:16]}"
    if stem.with_suffix(".csv").exists():
        return read_scored(stem)
    scored = score_clips(
        graph, clips, options.conditions, jobs=options.jobs, seed=options.seed, quiet=options.quiet
    )
    write_scored(stem, scored)
    return scored


def evaluate(graph: Path, clips: Sequence[Clip], folder: Path, name: str, options: ScoringOptions) -> Report:
    """Everything that is said of a model; leaves `NAME.json` and `NAME.html` in `folder`."""
    scored = scored_split(graph, clips, folder, name, options)
    spec = load_spec(graph)
    judged = judge(scored, spec)
    summary = summarise(
        scored.table,
        judged.llr,
        spec.thresholds,
        seed=options.seed,
        llr_origin=spec.thresholds_chosen,
        abstained=judged.abstained,
    )
    goals = judge_goals(
        summary, summary_goals.Measured(model_bytes=graph.stat().st_size, cost_over_vad=cost_over_vad(graph))
    )
    provenance = {
        "model": spec.model_version,
        "graph SHA-256": spec.graph_sha256,
        "clips": f"{len(clips)} of {name}, {len(scored.failed)} failed",
        "evaluated at": git_revision(),
        "machine": machine(),
        "seed": str(options.seed),
    }
    reasons = ", ".join(f"{reason} {count}" for reason, count in judged.reasons.items() if count) or "none"
    lines = [
        *(f"{key}: {value}" for key, value in provenance.items()),
        summary_text(summary, goals),
        f"abstentions over all conditions: {reasons}",
        *scored.failed,
    ]
    body = {"provenance": provenance, "goals": [asdict(g) for g in goals], "summary": asdict(summary)}
    json_path = write_text(folder / f"{name}.json", json.dumps(body, indent=1, ensure_ascii=False) + "\n")
    page = report_page(
        summary, goals, scored.table, judged.llr, title=f"{spec.model_version} on {name}", provenance=provenance
    )
    return Report(summary, goals, judged, "\n".join(lines), json_path, write_page(folder / f"{name}.html", page))


def cost_over_vad(graph: Path) -> float:
    """Median time of one 4 s window through the graph over that of the voice detector for the same 4 s, one thread."""
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
        voice = VoiceDetector()
        started = time.perf_counter()
        for chunk in chunks:
            voice.listen(chunk)
        voice_s.append(time.perf_counter() - started)
    return float(np.median(network_s) / np.median(voice_s))


def spec_summary(report: Report, spec: ModelSpec) -> dict[str, object]:
    """What `latest.json` says of the evaluation: short, with what is needed to read it."""
    pooled = report.summary.pooled
    return {
        "llr_origin": LLR_ORIGIN,
        "bonafide": pooled.bonafide,
        "spoof": pooled.spoof,
        "eer": pooled.eer,
        "eer_interval": None if pooled.eer_interval is None else asdict(pooled.eer_interval),
        "auc": pooled.auc,
        "eer_by_kind": {part.name: part.eer for part in report.summary.by_kind},
        "eer_by_condition": {part.name: part.eer for part in report.summary.by_condition},
        "min_dcf": report.summary.min_dcf,
        "calibration": asdict(report.summary.calibration),
        "outcome": asdict(pooled.outcome),
        "thresholds": asdict(spec.thresholds),
    }
