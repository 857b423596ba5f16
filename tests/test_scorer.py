from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from earwitness.errors import ModelMismatchError
from earwitness.model_spec import file_sha256, load_spec
from earwitness.scorer import Scorer, load_scorer
from tests.toy_model import SPEC, rewrite_spec, write_toy_model


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)


@pytest.mark.parametrize("samples", [8_000, 16_001, 64_000])
def test_shapes(toy_scorer: Scorer, samples: int) -> None:
    scores = toy_scorer.score(noise(3, samples))
    assert scores.score.shape == (3,)
    assert scores.frame_scores.shape == (3, (samples - 64) // 160 + 1)
    assert scores.embedding.shape == (3, 2)


def test_a_window_scores_the_same_alone_and_in_a_batch(toy_scorer: Scorer) -> None:
    batch = noise(4, 16_000)
    together = toy_scorer.score(batch).score
    alone = [float(toy_scorer.score(window[np.newaxis]).score[0]) for window in batch]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_several_threads_may_score_at_once(toy_scorer: Scorer) -> None:
    batches = [noise(2, 16_000) * np.float32(gain) for gain in range(1, 9)]
    expected = [toy_scorer.score(batch).score.tolist() for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda batch: toy_scorer.score(batch).score.tolist(), batches)) == expected


@pytest.mark.parametrize("shape", [(16_000,), (0, 16_000), (1, 100), (1, 1, 16_000)])
def test_other_shapes_are_refused(toy_scorer: Scorer, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected windows of shape"):
        toy_scorer.score(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": {"audio": ["batch", "samples"]}}, "needs the inputs"),
        ({"outputs": {"score": ["batch"]}}, "needs the outputs"),
        ({"inputs": {"waveform": ["batch", 64_000]}}, "input waveform is"),
        ({"outputs": {**SPEC.outputs, "embedding": ["batch", 128]}}, "output embedding is"),
        ({"ood": {"means": [[0.0] * 3], "components": [[1.0] * 3]}}, r"wants .*\(1, 3\)"),
    ],
)
def test_a_graph_that_does_not_look_like_its_spec_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    graph = write_toy_model(tmp_path)
    rewrite_spec(graph, **changes)

    with pytest.raises(ModelMismatchError, match=message):
        load_scorer(graph)


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    graph = write_toy_model(tmp_path)
    graph.write_bytes(b"no graph")
    rewrite_spec(graph, graph_sha256=file_sha256(graph))

    with pytest.raises(ModelMismatchError, match="can't be loaded"):
        load_scorer(graph)


def test_a_graph_that_answers_with_nan_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    graph = write_toy_model(tmp_path)
    model = onnx.load(graph)
    offset = next(tensor for tensor in model.graph.initializer if tensor.name == "offset")
    offset.CopyFrom(numpy_helper.from_array(np.array(np.nan, np.float32), "offset"))
    onnx.save(model, graph)

    with pytest.raises(ModelMismatchError, match="NaN"):
        Scorer(graph, replace(SPEC, graph_sha256=file_sha256(graph)))


def test_a_graph_that_takes_one_length_only_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    graph = write_toy_model(tmp_path)
    model = onnx.load(graph)
    model.graph.initializer.append(numpy_helper.from_array(np.ones((1, 64_000), np.float32), "fixed"))
    model.graph.node[0].input[0] = "weighted"
    model.graph.node.insert(0, helper.make_node("Mul", ["waveform", "fixed"], ["weighted"]))
    onnx.save(model, graph)

    with pytest.raises(ModelMismatchError, match=r"frame_scores is|fails on"):
        Scorer(graph, replace(SPEC, graph_sha256=file_sha256(graph)))


def test_the_toy_is_what_its_spec_says(toy_model: Path) -> None:
    model = onnx.load(toy_model)
    onnx.checker.check_model(model)
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert load_spec(toy_model).model_version == SPEC.model_version
