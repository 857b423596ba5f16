"""The last gate: a candidate becomes `models/audio/latest.{onnx,json}`, and those before it stay on the shelf.

    promote(Path("runs/twin-seed2"), Path("models/audio"), report)
    rollback(Path("models/audio"))

Nothing is written unless every gate was passed; how it is written is in `shelf`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from earwitness.model_spec import ModelSpec, load_spec
from earwitness.scorer import Scorer
from earwitness.waveform import sample_count
from ml.datasets.manifest import Clip
from ml.evaluation.evaluate_model import EVALUATED, Report, spec_summary
from ml.evaluation.summary_goals import MODEL_LIMIT_BYTES
from ml.export import shelf
from ml.export.again import EXPORTED_AGAIN
from ml.export.candidate import CANDIDATE, CHECKPOINT_NAME, MODEL_NAME, NOT_CALIBRATED, network_to_ship
from ml.export.graph import ExportError, Parity, check_graph, check_parity, random_batches
from ml.training.checkpoint import load
from ml.training.train import split_clips, split_of_run

LATENCY_REPETITIONS = 100
MAX_EER = 0.40
"""A detector this near to chance helps nobody, whatever else it is good at."""
ACCURATE_LIMIT_BYTES = 25_000_000
BETTER_BY_AT_LEAST = 0.02
"""Pooled EER of the accurate model below that of the latest: what is larger and slower must be worth it."""
WORSE_BY_AT_MOST = 0.02
"""Pooled EER may rise by this over the shipped model's on the same clips before `allow_worse` is needed: seeds differ
by as much."""


@dataclass(frozen=True, slots=True)
class Promoted:
    spec: ModelSpec
    parity: Parity
    latency_ms: float
    """Mean over `LATENCY_REPETITIONS` windows of 4 s, one thread."""


def promote(
    run_dir: Path, models: Path, report: Report, *, allow_worse: bool = False, accurate: bool = False
) -> Promoted:
    """Check the run's candidate and put it into `models`: as the latest, or beside it as the accurate one.

    Raises ExportError that names the gate.
    """
    graph = run_dir / CANDIDATE / MODEL_NAME
    draft = check_ready(run_dir, accurate=accurate)
    check_unheard(run_dir, report.clips)
    network, _ = network_to_ship(load(graph.with_name(CHECKPOINT_NAME)))
    parity = check_parity(network, graph, random_batches(draft.seed + 1))
    eer = report.summary.pooled.eer
    if eer is None or eer > MAX_EER:
        raise ExportError(f"pooled EER is {eer}, at most {MAX_EER} may be shipped")
    if not allow_worse:
        _check_against_shipped(eer, report, models, accurate=accurate)
    try:
        spec = shelf.unused_version(models, replace(draft, evaluation=spec_summary(report, draft)))
    except ValueError as error:
        raise ExportError(str(error)) from error
    latency_ms = measure_latency_ms(Scorer(graph, spec))
    name = shelf.ACCURATE if accurate else shelf.LATEST
    shipped = shelf.whole(models, name)
    if shipped is not None:  # the first promotion on a fresh checkout: it lies there under its short name only
        shelf.keep(models, models / f"{name}.onnx", shipped)
    shelf.keep(models, graph, spec)
    if accurate:
        shelf.put_beside(models, name, graph, spec)
        return Promoted(load_spec(models / f"{name}.onnx"), parity, latency_ms)
    shelf.put(
        models,
        graph,
        spec,
        keep_previous=shipped is not None and not _same_model(shipped, spec, draft.model_version),
    )
    load_spec(models / f"{shelf.LATEST}.onnx")
    return Promoted(spec, parity, latency_ms)


def check_ready(run_dir: Path, *, accurate: bool = False) -> ModelSpec:
    """The gates that need no scoring: calibrated, small enough, shapes and operators; the candidate's spec."""
    graph = run_dir / CANDIDATE / MODEL_NAME
    spec = load_spec(graph)
    if spec.thresholds_chosen == NOT_CALIBRATED:
        raise ExportError("the candidate is not calibrated: `make calibrate` first")
    size, limit = graph.stat().st_size, ACCURATE_LIMIT_BYTES if accurate else MODEL_LIMIT_BYTES
    if size > limit:
        raise ExportError(f"the graph has {size} bytes, at most {limit} may be shipped")
    check_graph(onnx.load(graph))
    return spec


def check_unheard(run_dir: Path, clips: Sequence[Clip]) -> None:
    """Raises ExportError where some of `clips` were trained on or held out, by their paths: figures on them would be
    too good. ConfigError where the run's manifest has changed, so that this can't be told."""
    graph = run_dir / CANDIDATE / MODEL_NAME
    checkpoint = load(graph.with_name(CHECKPOINT_NAME))
    # Of a graph that was made anew there is no run: its manifest may lie elsewhere by now, and its rows be the same.
    again = EXPORTED_AGAIN in load_spec(graph).training
    known, split = split_clips(checkpoint.experiment) if again else split_of_run(checkpoint, run_dir)
    fitted = {known[i].path.resolve() for i in (*split.train, *split.heldout)}
    if overlap := [clip.path for clip in clips if clip.path.resolve() in fitted]:
        raise ExportError(
            f"{len(overlap)} of the {len(clips)} clips to evaluate on were trained on or held out, {overlap[0]} for "
            "one: name a split that the run never had (--split, --manifest)"
        )


def rollback(models: Path) -> ModelSpec:
    """Exchange `latest` and `previous`; raises ExportError where there is no whole previous model."""
    if shelf.whole(models, shelf.PREVIOUS) is None:
        raise ExportError(f"nothing to roll back to: {models} holds no whole {shelf.PREVIOUS}.onnx and .json")
    shelf.exchange(models)
    return load_spec(models / f"{shelf.LATEST}.onnx")


def measure_latency_ms(scorer: Scorer) -> float:
    window = np.random.default_rng(0).standard_normal((1, sample_count(scorer.spec.window.window_s)))
    batch = (0.05 * window).astype(np.float32)
    started = time.perf_counter()
    for _ in range(LATENCY_REPETITIONS):
        scorer.score(batch)
    return (time.perf_counter() - started) * 1000 / LATENCY_REPETITIONS


def _check_against_shipped(eer: float, report: Report, models: Path, *, accurate: bool) -> None:
    """Raises ExportError where the latest model's EER is of other clips, or this one's isn't as good as it must be."""
    latest = shelf.whole(models, shelf.LATEST)
    before = None if latest is None else latest.evaluation.get("eer")
    if latest is None or not isinstance(before, float):
        return
    if other := _other_clips(latest, report):
        raise ExportError(
            f"the shipped model's pooled EER of {before:.2%} is of {other}, so that {eer:.2%} here can't be compared "
            "with it: evaluate on those clips, or pass --allow-worse"
        )
    if accurate and eer > before - BETTER_BY_AT_LEAST:
        raise ExportError(
            f"pooled EER {eer:.2%} is not {BETTER_BY_AT_LEAST:.0%} better than the latest model's {before:.2%}: the "
            "accurate model costs more; pass --allow-worse if it is wanted all the same"
        )
    if not accurate and eer > before + WORSE_BY_AT_MOST:
        raise ExportError(
            f"pooled EER {eer:.2%} is worse than the shipped model's {before:.2%} by more than "
            f"{WORSE_BY_AT_MOST:.0%}: pass --allow-worse if that is wanted"
        )


def _other_clips(shipped: ModelSpec, report: Report) -> str:
    """What a shipped model was evaluated on, in words, where that is not what the report is of; else empty.

    A spec that doesn't say which clips they were is taken to be of the same ones where it has as many of each class.
    """
    told = shipped.evaluation.get(EVALUATED)
    if isinstance(told, dict):
        if told.get("clips_sha256") == report.evaluated.clips_sha256:
            return ""
        return f"other clips ({told.get('clips')} of the split {told.get('split')!r})"
    counts = shipped.evaluation.get("bonafide"), shipped.evaluation.get("spoof")
    pooled = report.summary.pooled
    return (
        "" if counts == (pooled.bonafide, pooled.spoof) else f"{counts[0]} bona fide and {counts[1]} spoof clips"
    )


def _same_model(shipped: ModelSpec, spec: ModelSpec, version: str) -> bool:
    """Whether a promotion would only write what is there: the model before it must then stay to roll back to."""
    if shipped.model_version != version and not shipped.model_version.startswith(f"{version}."):
        return False
    return replace(shipped, evaluation={}) == replace(spec, evaluation={}, model_version=shipped.model_version)
