"""Weights of 8 bits: the file is a quarter, the graph does exactly what the rounded network does."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from ml.export.graph import INPUT, OUTPUTS, check_parity, export_graph, random_batches
from ml.export.rounding import STEPS, pack_weights, round_weights
from ml.models import SpoofNetwork, build_network

pytestmark = pytest.mark.pipeline

MODELS: dict[str, dict[str, Any]] = {
    "recogniser": {"blocks": 1, "hidden": 64, "embedding": 16, "frame_width": 32},
    "seresnet": {"channels": [16, 64], "blocks": [1, 1], "pool": "rows"},
}


def network(architecture: str) -> SpoofNetwork:
    torch.manual_seed(2)
    made = build_network(architecture, MODELS[architecture])[0].eval()
    for name, parameter in made.named_parameters():
        if name.endswith("places"):  # zeros until they are borrowed
            nn.init.normal_(parameter)
    return made


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[SpoofNetwork, Path]]:
    """Of each architecture a rounded network and its graph."""
    found = {}
    for architecture in MODELS:
        rounded = network(architecture)
        round_weights(rounded)
        path = tmp_path_factory.mktemp(architecture) / "packed.onnx"
        found[architecture] = (rounded, export_graph(rounded, path))
    return found


@pytest.mark.parametrize("architecture", MODELS)
def test_the_packed_graph_does_what_the_rounded_network_does(
    architecture: str, packed: dict[str, tuple[SpoofNetwork, Path]], tmp_path: Path
) -> None:
    plain = export_graph(network(architecture), tmp_path / "plain.onnx")
    rounded, path = packed[architecture]
    assert check_parity(rounded, path, random_batches(1)).largest_difference < 1e-5
    assert path.stat().st_size < 0.4 * plain.stat().st_size
    kinds = {constant.data_type for constant in onnx.load(path).graph.initializer}
    assert onnx.TensorProto.INT8 in kinds
    assert onnx.TensorProto.INT8 not in {constant.data_type for constant in onnx.load(plain).graph.initializer}


def test_packing_changes_no_bit_of_what_comes_out(packed: dict[str, tuple[SpoofNetwork, Path]]) -> None:
    path = packed["recogniser"][1]
    model = onnx.load(path)
    # The same graph with its weights multiplied out by hand.
    numbers = {constant.name: onnx.numpy_helper.to_array(constant) for constant in model.graph.initializer}
    names = [name.removesuffix(".numbers") for name in numbers if name.endswith(".numbers")]
    for name in names:
        product = numbers[f"{name}.numbers"].astype(np.float32) * numbers[f"{name}.scale"]
        model.graph.initializer.append(onnx.numpy_helper.from_array(product, name))
    nodes = [
        node for node in model.graph.node if node.output[0] not in {*names, *(f"{name}.wide" for name in names)}
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    assert len(names) >= 8
    clip = np.random.default_rng(1).standard_normal((2, 32_000)).astype(np.float32) * 0.1
    outputs = [
        onnxruntime.InferenceSession(one, providers=["CPUExecutionProvider"]).run(list(OUTPUTS), {INPUT: clip})
        for one in (path.read_bytes(), model.SerializeToString())
    ]
    for ours, plain in zip(*outputs, strict=True):
        assert np.array_equal(ours, plain)


@pytest.mark.parametrize("shape", [(80, 64), (64, 80, 3), (8, 16, 9, 5)])
def test_no_weight_moves_by_more_than_half_a_step_and_twice_is_once(shape: tuple[int, ...]) -> None:
    holder = nn.Module()
    holder.weight = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(1)))
    before = holder.weight.detach().clone()
    round_weights(holder)
    once = holder.weight.detach().clone()
    step = before.flatten(1).abs().amax(1).reshape(-1, *(1 for _ in shape[1:])) / STEPS
    assert ((once - before).abs() <= 0.501 * step).all()
    assert not torch.equal(once, before)
    round_weights(holder)
    assert torch.equal(holder.weight, once)


def test_what_is_small_or_has_one_dimension_stays() -> None:
    small = nn.Module()
    small.weight = nn.Parameter(torch.randn(10, 10))
    small.bias = nn.Parameter(torch.randn(5_000))
    before = {name: value.clone() for name, value in small.state_dict().items()}
    round_weights(small)
    assert all(torch.equal(value, before[name]) for name, value in small.state_dict().items())


def test_a_row_of_zeros_and_a_matrix_that_was_not_rounded() -> None:
    weight = torch.randn(80, 64, generator=torch.Generator().manual_seed(1))
    weight[3] = 0.0
    holder = nn.Module()
    holder.weight = nn.Parameter(weight.clone())
    round_weights(holder)
    assert not holder.weight[3].any() and torch.isfinite(holder.weight).all()
    for given, expected in ((holder.weight.detach(), 1), (weight, 0)):
        constant = onnx.numpy_helper.from_array(given.numpy().T.copy(), "weight")
        graph = onnx.helper.make_graph([], "one", [], [], [constant])
        assert pack_weights(onnx.helper.make_model(graph)) == expected
