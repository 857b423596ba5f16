"""A candidate: the graph of a finished run with a draft of its spec, not yet calibrated.

    make_candidate(Path("runs/twin-seed2"))     # writes candidate/model.onnx and candidate/model.json

The draft makes llr = score and turns nobody away for being unlike the training data; `ml.evaluation.calibrate_run`
replaces both by what was fitted on held-out recordings.
"""

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from earwitness.calibration import Calibration
from earwitness.canonical import CANONICAL_VERSION, canonicalise
from earwitness.errors import ModelError
from earwitness.model_spec import ModelSpec, SuitabilityLimits, file_sha256, load_spec
from earwitness.policy import Thresholds
from earwitness.waveform import SAMPLE_RATE_HZ, sample_count, seconds
from earwitness.windows import WindowPlan
from ml.datasets.manifest import UNKNOWN, Clip, Label
from ml.evaluation.atomic_write import write_text
from ml.evaluation.card import RENDERED_LANGUAGES
from ml.evaluation.evaluate_model import TRAINED_LINEAGES
from ml.evaluation.ood import classes_to_fit, fit_ood_reference
from ml.export.graph import MIN_WINDOW_S, Parity, check_parity, export_graph, random_batches, shape_of
from ml.export.rounding import WEIGHT_BITS, round_weights
from ml.models import SpoofNetwork
from ml.training.checkpoint import Checkpoint, load, load_network, save
from ml.training.inference import judge_waveforms
from ml.training.renderings import SOURCE
from ml.training.store import WaveformStore
from ml.training.train import BEST_NAME, split_of_run, training_clips

CANDIDATE = "candidate"
MODEL_NAME = "model.onnx"
CHECKPOINT_NAME = "checkpoint.pt"
"""A copy of the checkpoint that the graph was made from."""
OOD_CLIPS = 3_000  # enough for a covariance of 128 dimensions; two minutes on one core
OOD_RANK = 32
REAL_BATCHES = 4
UNBOUNDED = 1e9
"""A distance that nothing reaches: the draft abstains from nothing."""
UNTOLD = {UNKNOWN, "und"}
"""Languages that are none: `und` is ISO 639-2's word for unknown."""
NOT_CALIBRATED = "not calibrated: a draft"

LIMITS = SuitabilityLimits(
    min_duration_s=1.0,  # two windows' worth of frames are missing below this; a 1.5 s voice message must pass
    min_speech_s=0.5,  # a word
    min_level_dbfs=-80.0,  # 16-bit rounding is 18 dB below; the canonical view amplifies by 60 dB at most
    min_snr_db=3.0,  # augmentation goes down to 3 dB
    min_bandwidth_hz=2_500.0,  # telephone speech (3.4 kHz) must pass
    max_ood_distance=UNBOUNDED,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    graph: Path
    spec: Path
    parity: Parity


def make_candidate(run_dir: Path, checkpoint_name: str = BEST_NAME) -> Candidate:
    """Export one of the run's checkpoints (by default the best) and compare it with PyTorch on noise and real clips.

    Raises ConfigError where the run has no checkpoint or its manifest has changed, ExportError where a gate fails.
    """
    checkpoint = load(run_dir / checkpoint_name)
    experiment = checkpoint.experiment
    network, frame_hop = network_to_ship(checkpoint)
    clips, split = split_of_run(checkpoint, run_dir)
    store = WaveformStore.open_or_build(training_clips(experiment, clips, split), Path(experiment.data.cache_dir))
    graph = run_dir / CANDIDATE / MODEL_NAME
    building = graph.with_name(f"building.{os.getpid()}.onnx")
    save(checkpoint, graph.with_name(CHECKPOINT_NAME))
    try:
        export_graph(network, building)
        parity = check_parity(network, building, [*random_batches(experiment.seed), *_real_batches(store)])
        if _whole(graph) and file_sha256(graph) == file_sha256(building):
            return Candidate(graph, graph.with_suffix(".json"), parity)  # the same network: its calibration stays
        spec = _draft(checkpoint, network, frame_hop, building, store)
        building.replace(graph)
    finally:
        building.unlink(missing_ok=True)
    return Candidate(graph, write_text(graph.with_suffix(".json"), spec.to_json()), parity)


def _whole(graph: Path) -> bool:
    """Whether a graph lies there with its spec: what was stopped between the two is made anew."""
    try:
        load_spec(graph)
    except ModelError:
        return False
    return True


def network_to_ship(checkpoint: Checkpoint) -> tuple[SpoofNetwork, int]:
    """As `load_network`, its weights rounded where the experiment asks for it."""
    network, frame_hop = load_network(checkpoint)
    if checkpoint.experiment.weight_bits == WEIGHT_BITS:
        round_weights(network)
    return network, frame_hop


def _draft(
    checkpoint: Checkpoint, network: SpoofNetwork, frame_hop: int, graph: Path, store: WaveformStore
) -> ModelSpec:
    experiment = checkpoint.experiment
    sha256 = file_sha256(graph)
    model = onnx.load(graph)
    chosen = np.random.default_rng(experiment.seed).permutation(len(store.clips))[:OOD_CLIPS]
    embedding = judge_waveforms(network, [store.waveform(int(i)) for i in chosen]).embedding
    kinds = np.array([store.clips[i].kind.value for i in chosen])
    fitted, too_few = classes_to_fit(kinds)
    if too_few:
        told = ", ".join(f"{kind} ({count})" for kind, count in too_few.items())
        print(
            f"warning: left out of what counts as like the training data, too few clips: {told}", file=sys.stderr
        )
    lineages = sorted({c.lineage for c in store.clips if c.label == Label.SPOOF} - {UNKNOWN})
    return ModelSpec(
        model_version=f"{experiment.name}-{experiment.seed}-{sha256[:10]}",
        graph_sha256=sha256,
        sample_rate_hz=SAMPLE_RATE_HZ,
        canonical_version=CANONICAL_VERSION,
        window=WindowPlan(),
        min_window_s=MIN_WINDOW_S,
        frame_hop_s=seconds(frame_hop),
        inputs={value.name: shape_of(value) for value in model.graph.input},
        outputs={value.name: shape_of(value) for value in model.graph.output},
        calibration=Calibration(slope=1.0, intercept=0.0, llr_min=-math.log(1e6), llr_max=math.log(1e6)),
        thresholds=Thresholds(t_low=0.25, t_high=0.75),
        thresholds_chosen=NOT_CALIBRATED,
        limits=LIMITS,
        ood=fit_ood_reference(
            embedding[fitted],
            kinds[fitted],
            rank=min(OOD_RANK, embedding.shape[1] // 2),
        ),
        training={
            "experiment": experiment.name,
            "architecture": experiment.architecture,
            "parameters": sum(p.numel() for p in network.parameters()),
            "steps": checkpoint.step,
            "heldout_eer": checkpoint.history[-1]["heldout_eer"] if checkpoint.history else None,
            "bonafide_clips": sum(c.label == Label.BONAFIDE for c in store.clips),
            "spoof_clips": sum(c.label == Label.SPOOF for c in store.clips),
            "lineages": len(lineages),
            TRAINED_LINEAGES: lineages,
            **_languages(store.clips),
            "hours": round(float(seconds(int(store.offsets[-1]))) / 3600, 2),
            **checkpoint.provenance,
        },
        git_commit=str(checkpoint.provenance.get("git_revision", "unknown")),
        seed=experiment.seed,
    )


def _languages(clips: Sequence[Clip]) -> dict[str, int]:
    """How many known ones the corpora's clips are in, and apart from them the own renderings, if there are any: those
    speak a hundred in a few clips each."""
    own = {c.language for c in clips if c.source_repo == SOURCE} - UNTOLD
    told = {"languages": len({c.language for c in clips if c.source_repo != SOURCE} - UNTOLD)}
    return told | ({RENDERED_LANGUAGES: len(own)} if own else {})


def _real_batches(store: WaveformStore) -> list[NDArray[np.float32]]:
    """Canonical views of training clips, one clip a batch: real speech finds what noise doesn't."""
    step = max(1, len(store.clips) // REAL_BATCHES)
    shortest = sample_count(MIN_WINDOW_S)
    waveforms = [store.waveform(i) for i in range(0, len(store.clips), step)][:REAL_BATCHES]
    return [canonicalise(w).samples[np.newaxis] for w in waveforms if w.size >= shortest]
