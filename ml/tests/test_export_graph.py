"""Step M7: the gates of the export. Parity within tolerance, dynamic shapes, nothing the runtime can't run."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from ml.export.graph import (
    PARITY_TOLERANCE,
    ExportError,
    check_graph,
    check_parity,
    export_graph,
    random_batches,
)
from ml.models import ARCHITECTURES, Scores, SpoofNetwork, build_network
from ml.models.heads import Member

pytestmark = pytest.mark.pipeline

LOCAL, OWN = "local frames", "own frames"
SMALL: dict[str, dict[str, Any]] = {
    "seresnet": {"channels": [4, 8], "blocks": [1, 1], "embedding": 8},
    "lcnn": {"channels": [4, 8], "embedding": 8},
    "ensemble": {
        "members": [
            {"frontend": {"margin": 200}, "channels": [4, 8], "blocks": [1, 1], "embedding": 8},
            {
                "frontend": {"fft": 1024, "window": 800, "hop": 320},
                "channels": [4, 8],
                "blocks": [1, 1],
                "embedding": 8,
                "time_stride": 1,
            },
        ]
    },
    LOCAL: {"channels": [4, 8, 8], "blocks": [1, 1, 1], "embedding": 8, "frames": "local"},
    OWN: {"channels": [4, 8, 8], "blocks": [1, 1, 1], "embedding": 8, "frames": "own"},
    "conformer": {"stem_channels": 4, "width": 8, "heads": 2, "blocks": 1, "kernel": 3, "embedding": 8},
    "raw": {"filters": 4, "channels": [4, 8], "strides": [16, 16], "embedding": 8},
    "recogniser": {"blocks": 1, "hidden": 8, "embedding": 8, "frame_width": 8},
}


def small(architecture: str) -> SpoofNetwork:
    torch.manual_seed(1)
    name = "seresnet" if architecture in (LOCAL, OWN) else architecture
    network = build_network(name, SMALL[architecture])[0].eval()
    if architecture == LOCAL:  # as if it had learnt something
        nn.init.normal_(network.members[0].local.score[-1].weight)  # type: ignore[union-attr,index]
    return network


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_graph(small("seresnet"), tmp_path_factory.mktemp("graph") / "model.onnx")


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, LOCAL, OWN])
def test_onnx_runtime_agrees_with_pytorch_on_random_batches(architecture: str, tmp_path: Path) -> None:
    network = small(architecture)
    path = export_graph(network, tmp_path / "model.onnx")
    parity = check_parity(network, path, random_batches(1))
    assert parity.largest_difference <= PARITY_TOLERANCE
    assert parity.batches == 4


def test_the_graph_keeps_the_floor_under_digital_silence(graph: Path) -> None:
    """The exporter drops an added constant that it takes for 0; without the floor silence has no logarithm."""
    silence_at_the_end = np.pad(random_batches(1)[0], ((0, 0), (0, 8_000)))
    batches = [np.zeros((2, 16_000), np.float32), silence_at_the_end]
    assert check_parity(small("seresnet"), graph, batches).largest_difference <= PARITY_TOLERANCE


def test_the_kernel_of_the_transform_is_made_in_the_graph(graph: Path) -> None:
    """Kept as numbers it would be larger than the network: 243 bins, cosine and sine, 400 places, 4 bytes each."""
    assert graph.stat().st_size < 2 * 243 * 400 * 4


def test_other_weights_are_noticed(graph: Path) -> None:
    other = small("seresnet")
    with torch.no_grad():
        member = other.members[0]
        assert isinstance(member, Member)
        member.head.get_submodule("score").get_parameter("bias").add_(0.01)
    with pytest.raises(ExportError, match="score differs"):
        check_parity(other, graph, random_batches(1))


def test_a_static_batch_is_refused(graph: Path) -> None:
    model = onnx.load(graph)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    with pytest.raises(ExportError, match="static"):
        check_graph(model)


def test_a_static_length_is_refused(graph: Path) -> None:
    model = onnx.load(graph)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 64_000
    with pytest.raises(ExportError, match="static"):
        check_graph(model)


def test_a_network_that_fixes_its_length_fails_the_export(tmp_path: Path) -> None:
    class FixedLength(SpoofNetwork):
        def forward(self, waveforms: Tensor) -> Scores:
            return super().forward(waveforms.reshape(waveforms.shape[0], 32_000))

    base = small("seresnet")
    fixed = FixedLength(*(member for member in base.members if isinstance(member, Member))).eval()
    with pytest.raises((ExportError, torch.onnx.OnnxExporterError)):
        export_graph(fixed, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_an_operator_that_the_runtime_lacks_is_refused(graph: Path) -> None:
    model = onnx.load(graph)
    for node in model.graph.node:
        if node.op_type == "Relu":
            node.op_type, node.domain = "Reluu", "unheard.of"
            break
    model.opset_import.append(helper.make_opsetid("unheard.of", 1))
    with pytest.raises(ExportError, match="can't run"):
        check_graph(model)


def test_other_outputs_are_refused() -> None:
    value = helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", "samples"])
    out = helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["batch", "samples"])
    model = helper.make_model(
        helper.make_graph([helper.make_node("Identity", ["waveform"], ["logit"])], "g", [value], [out]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    with pytest.raises(ExportError, match="logit"):
        check_graph(model)


def test_random_batches_are_of_many_shapes() -> None:
    shapes = {batch.shape for batch in random_batches(3)}
    assert len(shapes) == 4
    assert all(batch.dtype == np.float32 for batch in random_batches(3))


def test_the_graph_names_no_path_of_the_machine(graph: Path) -> None:
    assert b".py" not in graph.read_bytes()
