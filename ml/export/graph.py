"""From a trained network to an ONNX graph, front-end included, and the checks that it must pass.

    path = export_graph(network, Path("runs/twin-seed2/model.onnx"))
    check_parity(network, path, waveforms)

Nothing here writes into `models/audio`: that is `ml.export.promote`'s, after all gates passed.
"""

import json
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import ModelProto, shape_inference
from onnxscript.optimizer import optimize_ir
from torch import Tensor

from earwitness.canonical import canonicalise
from earwitness.waveform import sample_count
from ml.export.rounding import pack_weights
from ml.models.heads import SpoofNetwork
from ml.models.whole_numbers import bounds_of, write_columns

INPUT = "waveform"
OUTPUTS = ("score", "frame_scores", "embedding")
OPSET = 20  # the first with an operator for GELU, which ONNX Runtime otherwise takes for five
PARITY_TOLERANCE = 1e-4
"""Largest difference between PyTorch and ONNX Runtime, absolute, on outputs of order 1 to 10."""
BOUNDS = "bounds"
"""Of a graph's metadata: between which numbers the modules of whole numbers round, by their names in PyTorch."""
MIN_WINDOW_S = 0.5
FOLDED_NUMBERS = 128  # shapes and axes are; a table of the front-end has more
TRACE_SHAPE = (2, sample_count(2.0))


class ExportError(RuntimeError):
    """The graph can't be shipped; the message says which gate it failed."""


@dataclass(frozen=True, slots=True)
class Parity:
    batches: int
    largest_difference: float


def export_graph(network: SpoofNetwork, path: Path) -> Path:
    """Write `network` as ONNX with a dynamic batch and length; matrices that were rounded (`ml.export.rounding`) take 8
    bits a weight. Raises ExportError where a gate fails."""
    network.eval()
    write_columns(network)
    example = torch.zeros(TRACE_SHAPE)
    example[:, 0] = 1.0  # not all silence, so that the trace takes the ordinary path
    partial = path.with_suffix(".part.onnx")
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        program = torch.onnx.export(
            network,
            (example,),
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes=(
                {0: torch.export.Dim("batch"), 1: torch.export.Dim("samples", min=sample_count(MIN_WINDOW_S))},
            ),
            opset_version=OPSET,
            dynamo=True,
            optimize=False,
            verbose=False,
        )
        if program is None:
            raise ExportError("the exporter returned no program")
        packed = program.model_proto
        pack_weights(packed)
        optimised = onnx_ir.from_proto(packed)
        # Folding what is large would write the transform's kernel out; ONNX Runtime folds it when it loads the graph.
        optimize_ir(optimised, input_size_limit=FOLDED_NUMBERS, output_size_limit=FOLDED_NUMBERS)
    model = onnx_ir.to_proto(optimised)
    check_graph(model)
    forget_origin(model)
    if bounds := bounds_of(network):
        onnx.helper.set_model_props(model, {BOUNDS: json.dumps(bounds)})
    onnx.save_model(model, partial)
    partial.replace(path)
    return path


def read_bounds(model: ModelProto) -> dict[str, Tensor]:
    """What `export_graph` wrote of them; none where no module multiplies whole numbers."""
    written = {entry.key: entry.value for entry in model.metadata_props}
    return {name: torch.tensor(bound) for name, bound in json.loads(written.get(BOUNDS, "{}")).items()}


def forget_origin(model: ModelProto) -> None:
    """Take out what the exporter notes of its own work: stack traces with the paths of the machine it ran on, and
    shapes that every reader works out by itself (a hundredth of the file)."""
    graph = model.graph
    del graph.value_info[:]
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def check_graph(model: ModelProto) -> None:
    """Dynamic batch and length, the three outputs, and no operator that ONNX Runtime lacks; else ExportError."""
    onnx.checker.check_model(model, full_check=True)
    inferred = shape_inference.infer_shapes(model)
    names = [value.name for value in inferred.graph.output]
    if [value.name for value in inferred.graph.input] != [INPUT] or tuple(names) != OUTPUTS:
        raise ExportError(f"the graph must take {INPUT} and give {', '.join(OUTPUTS)}, not {', '.join(names)}")
    waveform = shape_of(inferred.graph.input[0])
    if len(waveform) != 2 or any(isinstance(dim, int) for dim in waveform):
        raise ExportError(f"the input's shape is static ({waveform}): batch and length must both be dynamic")
    for output, dynamic in zip(inferred.graph.output, ((0,), (0, 1), (0,)), strict=True):
        shape = shape_of(output)
        if any(isinstance(shape[axis], int) for axis in dynamic):
            raise ExportError(f"the shape of output {output.name} is static: {shape}")
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
        raise ExportError(f"ONNX Runtime can't run this graph: {error}") from error


def shape_of(value: onnx.ValueInfoProto) -> list[str | int]:
    """A graph value's shape; a text is a dynamic dimension."""
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_param or "dynamic" if not dim.HasField("dim_value") else dim.dim_value for dim in dims]


Run = Callable[[NDArray[np.float32]], Sequence[NDArray[np.float32]]]
"""From (batch, samples) to the three outputs."""


def runner(path: Path) -> Run:
    """An exported graph in ONNX Runtime."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(list(OUTPUTS), {INPUT: batch})


def compared(
    one: Run, other: Run, batch: NDArray[np.float32]
) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.float32], float]]:
    """Each output's name, what either says, and their largest difference: infinite where their shapes differ."""
    for name, ours, theirs in zip(OUTPUTS, one(batch), other(batch), strict=True):
        difference = float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else math.inf
        yield name, ours, theirs, difference


def check_parity(network: SpoofNetwork, path: Path, batches: Sequence[NDArray[np.float32]]) -> Parity:
    """Run every batch, each (batch, samples), through both. Raises ExportError beyond `PARITY_TOLERANCE`."""
    network.eval()

    @torch.no_grad()
    def expected(batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return [part.numpy() for part in network(torch.from_numpy(batch))]

    actual, largest = runner(path), 0.0
    for batch in batches:
        for name, ours, theirs, difference in compared(expected, actual, batch):
            if ours.shape != theirs.shape:
                raise ExportError(f"{name} has shape {theirs.shape} in ONNX Runtime, {ours.shape} in PyTorch")
            if not difference <= PARITY_TOLERANCE:  # also catches NaN
                raise ExportError(
                    f"{name} differs by {difference:.2e} between PyTorch and ONNX Runtime "
                    f"(allowed: {PARITY_TOLERANCE:.0e}) for a batch of shape {batch.shape}"
                )
            largest = max(largest, difference)
    return Parity(len(batches), largest)


def random_batches(
    seed: int, sizes: Sequence[tuple[int, float]] = ((1, 0.5), (3, 1.5), (2, 4.0), (8, 2.72))
) -> list[NDArray[np.float32]]:
    """Canonical views of noise in several (batch, seconds) shapes: the shapes are what is tested.

    Canonical, because the graph is never given anything else: bins outside the band hold no power in training, and
    its normalisation would blow power there up several hundred times, rounding errors included.
    """
    rng = np.random.default_rng(seed)
    return [
        np.stack(
            [canonicalise(rng.standard_normal(sample_count(s)).astype(np.float32)).samples for _ in range(batch)]
        )
        for batch, s in sizes
    ]
