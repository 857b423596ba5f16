"""A small real model for tests: an ONNX graph that compares the energy above 4 kHz with that below, and its spec.

    graph = write_toy_model(tmp_path)        # tmp_path/toy.onnx and tmp_path/toy.json

Sound with much energy in the upper band gets a high score. It is not a detector of anything.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from earwitness.calibration import Calibration
from earwitness.canonical import CANONICAL_VERSION
from earwitness.model_spec import ModelSpec, OodReference, SuitabilityLimits, file_sha256
from earwitness.policy import Thresholds
from earwitness.waveform import SAMPLE_RATE_HZ
from earwitness.windows import WindowPlan

TAPS = 64
STRIDE = 160
OPSET = 18
EDGE_HZ = 4_000.0
OFFSET = 6.0  # speechlike sound has about 25 dB, 6 nepers of power, less above 4 kHz than below

SPEC = ModelSpec(
    model_version="toy-1",
    graph_sha256="0" * 64,
    sample_rate_hz=SAMPLE_RATE_HZ,
    canonical_version=CANONICAL_VERSION,
    window=WindowPlan(window_s=4.0, hop_s=2.0),
    min_window_s=0.5,
    frame_hop_s=STRIDE / SAMPLE_RATE_HZ,
    inputs={"waveform": ["batch", "samples"]},
    outputs={"score": ["batch"], "frame_scores": ["batch", "frames"], "embedding": ["batch", 2]},
    calibration=Calibration(slope=1.0, intercept=0.0, llr_min=-6.0, llr_max=6.0),
    thresholds=Thresholds(t_low=0.2, t_high=0.8),
    thresholds_chosen="by hand, for tests",
    limits=SuitabilityLimits(
        min_duration_s=1.0,
        min_speech_s=0.4,
        min_level_dbfs=-80.0,
        min_snr_db=3.0,
        min_bandwidth_hz=2_500.0,
        max_ood_distance=50.0,
    ),
    ood=OodReference(means=((0.0, 0.0), (1.0, 1.0)), components=((1.0, 0.0), (0.0, 1.0))),
)


def write_toy_model(folder: Path, **changes: Any) -> Path:
    """Write graph and spec; `changes` replace fields of the spec."""
    path = folder / "toy.onnx"
    onnx.save(_graph(), path)
    spec = replace(SPEC, graph_sha256=file_sha256(path), **changes)
    path.with_suffix(".json").write_text(spec.to_json(), encoding="utf-8")
    return path


def rewrite_spec(graph_path: Path, **changes: Any) -> None:
    """Change raw keys of the spec beside a graph, valid or not."""
    spec_path = graph_path.with_suffix(".json")
    raw = json.loads(spec_path.read_text(encoding="utf-8"))
    spec_path.write_text(json.dumps({**raw, **changes}), encoding="utf-8")


def _graph() -> onnx.ModelProto:
    constants = {
        "filters": np.stack([_low_pass(), _high_pass()])[:, np.newaxis].astype(np.float32),
        "channel_axis": np.array([1], dtype=np.int64),
        "time_axis": np.array([2], dtype=np.int64),
        "floor": np.array(1e-9, dtype=np.float32),
        "difference": np.array([[-1.0], [1.0]], dtype=np.float32),
        "difference_by_frame": np.array([-1.0, 1.0], dtype=np.float32).reshape(1, 2, 1),
        "offset": np.array(OFFSET, dtype=np.float32),
    }
    nodes = [
        helper.make_node("Unsqueeze", ["waveform", "channel_axis"], ["channelled"]),
        helper.make_node("Conv", ["channelled", "filters"], ["bands"], strides=[STRIDE], kernel_shape=[TAPS]),
        helper.make_node("Mul", ["bands", "bands"], ["power"]),
        helper.make_node("ReduceMean", ["power", "time_axis"], ["mean_power"], keepdims=0),
        helper.make_node("Add", ["mean_power", "floor"], ["mean_power_floored"]),
        helper.make_node("Log", ["mean_power_floored"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "difference"], ["ratio"]),
        helper.make_node("Squeeze", ["ratio", "channel_axis"], ["ratio_flat"]),
        helper.make_node("Add", ["ratio_flat", "offset"], ["score"]),
        helper.make_node("Add", ["power", "floor"], ["power_floored"]),
        helper.make_node("Log", ["power_floored"], ["log_power"]),
        helper.make_node("Mul", ["log_power", "difference_by_frame"], ["signed"]),
        helper.make_node("ReduceSum", ["signed", "channel_axis"], ["frame_scores"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", "samples"])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info("frame_scores", TensorProto.FLOAT, ["batch", "frames"]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 2]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def _low_pass() -> NDArray[np.float64]:
    time = np.arange(TAPS) - (TAPS - 1) / 2
    kernel = np.sinc(2 * EDGE_HZ / SAMPLE_RATE_HZ * time) * np.hamming(TAPS)
    return kernel / kernel.sum()


def _high_pass() -> NDArray[np.float64]:
    return _low_pass() * np.cos(np.pi * np.arange(TAPS))
