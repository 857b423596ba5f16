"""The last gate: a candidate becomes `models/audio/latest.{onnx,json}`, and those before it stay on the shelf.

    promote(Path("runs/twin-seed2"), Path("models/audio"), report)
    rollback(Path("models/audio"))

Nothing is written unless every gate was passed; how it is written is in `shelf`.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from earwitness.model_spec import ModelSpec, load_spec
from earwitness.scorer import Scorer
from earwitness.waveform import sample_count
from ml.evaluation.evaluate_model import Report, spec_summary
from ml.evaluation.summary_goals import MODEL_LIMIT_BYTES
from ml.export import shelf
from ml.export.candidate import CANDIDATE, CHECKPOINT_NAME, MODEL_NAME, NOT_CALIBRATED, network_to_ship
from ml.export.graph import ExportError, Parity, check_graph, check_parity, random_batches
from ml.training.checkpoint import load

LATENCY_REPETITIONS = 100
MAX_EER = 0.40
"""A detector this near to chance helps nobody, whatever else it is good at."""
ACCURATE_LIMIT_BYTES = 25_000_000
BETTER_BY_AT_LEAST = 0.02
"""Pooled EER of the accurate model below that of the latest: what is larger and slower must be worth it."""
WORSE_BY_AT_MOST = 0.02
"""Pooled EER may rise by this over the shipped model's before `allow_worse` is needed: seeds differ by as much."""


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
    network, _ = network_to_ship(load(graph.with_name(CHECKPOINT_NAME)))
    parity = check_parity(network, graph, random_batches(draft.seed + 1))
    eer = report.summary.pooled.eer
    if eer is None or eer > MAX_EER:
        raise ExportError(f"pooled EER is {eer}, at most {MAX_EER} may be shipped")
    if not allow_worse:
        (_check_better if accurate else _check_against_shipped)(eer, models)
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


def _check_against_shipped(eer: float, models: Path) -> None:
    before = _eer_of_latest(models)
    if before is not None and eer > before + WORSE_BY_AT_MOST:
        raise ExportError(
            f"pooled EER {eer:.2%} is worse than the shipped model's {before:.2%} by more than "
            f"{WORSE_BY_AT_MOST:.0%}: pass --allow-worse if that is wanted"
        )


def _check_better(eer: float, models: Path) -> None:
    before = _eer_of_latest(models)
    if before is not None and eer > before - BETTER_BY_AT_LEAST:
        raise ExportError(
            f"pooled EER {eer:.2%} is not {BETTER_BY_AT_LEAST:.0%} better than the latest model's {before:.2%}: the "
            "accurate model costs more; pass --allow-worse if it is wanted all the same"
        )


def _eer_of_latest(models: Path) -> float | None:
    latest = shelf.whole(models, shelf.LATEST)
    figure = None if latest is None else latest.evaluation.get("eer")
    return figure if isinstance(figure, float) else None


def _same_model(shipped: ModelSpec, spec: ModelSpec, version: str) -> bool:
    """Whether a promotion would only write what is there: the model before it must then stay to roll back to."""
    if shipped.model_version != version and not shipped.model_version.startswith(f"{version}."):
        return False
    return replace(shipped, evaluation={}) == replace(spec, evaluation={}, model_version=shipped.model_version)
