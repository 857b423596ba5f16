"""The network itself: a batch of equally long windows in, scores out. ONNX Runtime on the CPU.

    scorer = load_scorer(default_model_path())
    scores = scorer.score(batch)        # batch: float32, shape (batch, samples), canonical view
    scores.score                        # shape (batch,): raw logits, higher = more likely spoof

The graph holds its own front-end; what it must look like stands in its spec (`earwitness.model_spec`), and a graph
that looks otherwise is refused when it is loaded, not when the first recording comes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

from earwitness.errors import ModelMismatchError
from earwitness.model_spec import ModelSpec, file_sha256, load_spec
from earwitness.waveform import sample_count

INPUT = "waveform"
OUTPUTS = ("score", "frame_scores", "embedding")
LOAD_ERRORS = (
    runtime_errors.Fail,
    runtime_errors.InvalidArgument,
    runtime_errors.InvalidGraph,
    runtime_errors.InvalidProtobuf,
    runtime_errors.NotImplemented,
    runtime_errors.RuntimeException,
)
"""ONNX Runtime's errors have no common root."""
QUIET = 3  # ONNX Runtime's log severity: errors only, for warnings about a graph are no user's business


@dataclass(frozen=True, slots=True)
class Scores:
    score: NDArray[np.float32]
    """(batch,): raw logits."""
    frame_scores: NDArray[np.float32]
    """(batch, frames): one every `spec.frame_hop_s`; only how far each lies from their mean counts (`timeline`)."""
    embedding: NDArray[np.float32]
    """(batch, dim)"""


class Scorer:
    """Holds one loaded graph; safe to call from several threads."""

    def __init__(self, graph_path: Path, spec: ModelSpec, threads: int = 1) -> None:
        """Raises ModelMismatchError for a graph that can't be loaded or doesn't look as `spec` says."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = QUIET
        try:
            self._session = onnxruntime.InferenceSession(
                str(graph_path), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except LOAD_ERRORS as error:
            raise ModelMismatchError(f"the graph {graph_path} can't be loaded: {error}") from error
        self.spec = spec
        _check_shapes(
            "input", spec.inputs, {node.name: node.shape for node in self._session.get_inputs()}, {INPUT}
        )
        _check_shapes(
            "output", spec.outputs, {node.name: node.shape for node in self._session.get_outputs()}, set(OUTPUTS)
        )
        self._warm_up()

    def score(self, batch: NDArray[np.float32]) -> Scores:
        """Score windows of one length, shape (batch, samples), float32.

        Raises ValueError for another shape or windows shorter than the graph takes, ModelMismatchError where the
        graph fails on them or answers with NaN or infinity.
        """
        shortest = sample_count(self.spec.min_window_s)
        if batch.ndim != 2 or batch.shape[0] == 0 or batch.shape[1] < shortest:
            raise ValueError(f"expected windows of shape (batch, at least {shortest}), not {batch.shape}")
        try:
            score, frame_scores, embedding = self._session.run(
                OUTPUTS, {INPUT: np.ascontiguousarray(batch, dtype=np.float32)}
            )
        except LOAD_ERRORS as error:
            raise ModelMismatchError(f"model {self.spec.model_version} fails on {batch.shape}: {error}") from error
        if not (np.isfinite(score).all() and np.isfinite(embedding).all()):
            raise ModelMismatchError(f"model {self.spec.model_version} answers with NaN or infinity: replace it")
        return Scores(score, frame_scores, embedding)

    def _warm_up(self) -> None:
        """Silence of the shortest and of the usual length: the first calls allocate, and show what shapes don't."""
        self.score(np.zeros((2, sample_count(self.spec.min_window_s)), dtype=np.float32))
        answer = self.score(np.zeros((1, sample_count(self.spec.window.window_s)), dtype=np.float32))
        dim = len(self.spec.ood.means[0])
        if answer.score.shape != (1,) or answer.frame_scores.ndim != 2 or answer.embedding.shape != (1, dim):
            raise ModelMismatchError(
                f"model {self.spec.model_version} answers with {answer.score.shape}, {answer.frame_scores.shape} "
                f"and {answer.embedding.shape}; its spec wants (1,), (1, frames) and (1, {dim})"
            )


def load_scorer(graph_path: Path, threads: int = 1) -> Scorer:
    """Load graph and spec together.

    Raises ModelNotFoundError where one is missing, ModelMismatchError where they don't fit.
    """
    spec = load_spec(graph_path)
    scorer = Scorer(graph_path, spec, threads)
    if file_sha256(graph_path) != spec.graph_sha256:  # a promotion came between the check and the loading
        raise ModelMismatchError(f"{graph_path} was replaced while it was loaded: load it again")
    return scorer


def _check_shapes(
    what: str,
    expected: Mapping[str, list[str | int]],
    actual: Mapping[str, list[str | int | None]],
    needed: set[str],
) -> None:
    if set(expected) != needed or set(actual) != needed:
        raise ModelMismatchError(
            f"this program needs the {what}s {sorted(needed)}; the spec has {sorted(expected)}, "
            f"the graph {sorted(actual)}"
        )
    for name, shape in expected.items():
        if _sizes(shape) != _sizes(actual[name]):
            raise ModelMismatchError(f"{what} {name} is {actual[name]} in the graph, {shape} in its spec")


def _sizes(shape: list[str | int] | list[str | int | None]) -> list[int | None]:
    """Static sizes; None for a dynamic dimension, whatever its name."""
    return [size if isinstance(size, int) else None for size in shape]
