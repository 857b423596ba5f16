"""A shipped model's graph made anew by today's exporter: the same weights, the same scores, perhaps quicker.

    make_again(Path("models/audio/latest.onnx"), experiment, Path("runs/located-again"))

For a model whose run is no longer there, after the exporter or a front-end has learnt to write a better graph. What was
fitted to its scores (calibration, thresholds, what counts as unlike the training data) stays, since the scores do: they
are compared. The result is a candidate like any other, and promoted through the same gates.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from earwitness.model_spec import file_sha256, load_spec
from earwitness.waveform import seconds
from ml.config import Experiment
from ml.evaluation.atomic_write import write_text
from ml.export.candidate import CANDIDATE, CHECKPOINT_NAME, MODEL_NAME, Candidate, network_to_ship
from ml.export.graph import (
    PARITY_TOLERANCE,
    ExportError,
    check_parity,
    compared,
    export_graph,
    random_batches,
    runner,
    shape_of,
)
from ml.models import build_network
from ml.provenance import git_revision, library_versions
from ml.training.checkpoint import save
from ml.training.join import take
from ml.training.train import finished

EXPORTED_AGAIN = "exported_again"
"""Of a spec's training: which graph the weights were read from, and what wrote them anew."""


def make_again(graph: Path, experiment: Experiment, run_dir: Path) -> Candidate:
    """Leave in `run_dir` a calibrated candidate with the weights of `graph`, which `experiment` trained.

    Raises ModelError where graph and spec are no model, ConfigError where the weights are not those of the experiment's
    network, ExportError where a gate fails or the new graph says something else than the old one.
    """
    shipped = load_spec(graph)
    made_by = shipped.training.get("experiment"), shipped.seed
    if made_by != (experiment.name, experiment.seed):
        raise ExportError(
            f"{graph} was made by the experiment {made_by[0]!r} with seed {made_by[1]}, not by "
            f"{experiment.name!r} with seed {experiment.seed}: name its file"
        )
    network, frame_hop = build_network(experiment.architecture, experiment.model)
    if seconds(frame_hop) != shipped.frame_hop_s:
        raise ExportError(
            f"{experiment.name!r} gives a frame score every {seconds(frame_hop):g} s, {graph} every "
            f"{shipped.frame_hop_s:g} s: the experiment has changed since"
        )
    folder = run_dir / CANDIDATE
    for number, member in enumerate(network.members):
        take(member, f"{graph}#{number}")  # type: ignore[arg-type]  # a ModuleList holds modules
    checkpoint = finished(experiment, network, shipped.training, {})
    save(checkpoint, folder / CHECKPOINT_NAME)
    network, _ = network_to_ship(checkpoint)
    building = export_graph(network, folder / f"building.{os.getpid()}.onnx")
    batches = random_batches(experiment.seed)
    parity = check_parity(network, building, batches)
    check_same(graph, building, batches)
    made = building.replace(folder / MODEL_NAME)
    sha256 = file_sha256(made)
    model = onnx.load(made)
    spec = replace(
        shipped,
        model_version=f"{experiment.name}-{experiment.seed}-{sha256[:10]}",
        graph_sha256=sha256,
        inputs={value.name: shape_of(value) for value in model.graph.input},
        outputs={value.name: shape_of(value) for value in model.graph.output},
        evaluation={},  # promotion looks anew
        training={
            **shipped.training,
            EXPORTED_AGAIN: {
                "graph_sha256": shipped.graph_sha256,
                "git_revision": git_revision(),
                "libraries": library_versions(),
            },
        },
    )
    return Candidate(made, write_text(made.with_suffix(".json"), spec.to_json()), parity)


def check_same(one: Path, other: Path, batches: Sequence[NDArray[np.float32]]) -> float:
    """The largest difference of two graphs' outputs; ExportError where it is more than a graph may differ from PyTorch
    by, or their shapes differ."""
    before, now, largest = runner(one), runner(other), 0.0
    for batch in batches:
        for name, _, _, difference in compared(before, now, batch):
            if not difference <= PARITY_TOLERANCE:  # also catches NaN
                raise ExportError(f"{name} of the new graph differs by {difference:.2e} from that of {one}")
            largest = max(largest, difference)
    return largest
