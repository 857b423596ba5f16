"""Arithmetic in whole numbers: near to that in floats, and the same to the last bit whatever adds it up."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from scipy.special import erfc
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.canonical import canonicalise
from ml.config import Experiment
from ml.export.graph import INPUT, check_parity, export_graph, random_batches, read_bounds
from ml.export.rounding import round_weights
from ml.models import SpoofNetwork, build_network
from ml.models.encoders import BORROWED, MELS
from ml.models.heads import Member
from ml.models.recogniser import (
    FLOATS,
    WHOLE,
    Encoder,
    RecogniserMember,
    RecogniserSpectrogram,
    WholeSpectrogram,
)
from ml.models.whole_numbers import (
    BENT_UNIT,
    FINEST_STEP,
    GELU_UNIT,
    INPUT_STEPS,
    SHARE_STEPS,
    WEIGHT_STEPS,
    EvenSteps,
    SignedSteps,
    Steps,
    WholeAttention,
    WholeConv1d,
    WholeLinear,
    WholeNorm,
    bounds_of,
    gelu,
    measure,
    weight_of,
    weights_of,
    write_columns,
)
from ml.tests.speechlike import speechlike
from ml.training.checkpoint import load
from ml.training.join import take
from ml.training.train import train

FLOAT_ERROR = 1.2e-7  # of a value near 1, of a function that is not out by more than a last bit
# More neurons than the exporter takes for a shape and folds.
MODEL = {
    "blocks": 2, "hidden": 160, "heads": 5, "channels": 144, "last_step": 2,
    "whole": True, "embedding": 6, "frame_width": 8,
}  # fmt: skip


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def same_bits(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.numpy().tobytes() == other.contiguous().numpy().tobytes()


def test_what_comes_in_is_rounded_between_two_bounds_and_0_stays_0() -> None:
    steps = Steps()
    steps.put(-1.0, 3.0)
    given = torch.tensor([-9.0, -1.0, 0.0, 0.3, 3.0, 9.0])
    numbers = steps(given)
    assert numbers.min() >= 0 and numbers.max() <= INPUT_STEPS and torch.equal(numbers, numbers.round())
    stands_for = (numbers - steps.zero.float()) * steps.step
    assert stands_for[2] == 0.0
    assert torch.allclose(stands_for, given.clamp(-1.0, 3.0), atol=float(steps.step))


@pytest.mark.parametrize(("kind", "furthest"), [(EvenSteps, 128), (SignedSteps, WEIGHT_STEPS)])
def test_even_steps_are_powers_of_two_as_far_to_either_side(
    kind: type[EvenSteps] | type[SignedSteps], furthest: int
) -> None:
    steps = kind()
    for widest in (0.7, 5.0, 90.0):
        steps.put(-widest, 0.5 * widest)
        assert torch.frexp(steps.step).mantissa == 0.5
        numbers = steps(torch.tensor([-1e6, -widest, 0.0, widest, 1e6]))
        zero = numbers[2]
        assert float((numbers - zero).abs().max()) <= furthest
        assert float(numbers[3] - zero) >= 0.7 * (furthest - 1)
    steps.put(0.0, 0.0)
    assert torch.isfinite(steps(torch.zeros(3))).all()


def test_products_are_those_of_whole_numbers_and_near_those_of_floats() -> None:
    ordinary = nn.Linear(512, 40)
    layer = WholeLinear(512, 40)
    layer.load_state_dict(layer.state_dict() | ordinary.state_dict())
    given = random(7, 512)
    layer.bounds.put(float(given.min()), float(given.max()))
    said, wanted = layer(given), ordinary(given)
    assert float((said - wanted).square().mean() / wanted.var()) < 1e-3
    write_columns(layer)
    columns, scale = layer.get_buffer("columns"), layer.get_buffer("scale")
    assert int(columns.abs().max()) == WEIGHT_STEPS
    numbers = layer.bounds(given).numpy().astype(np.int64) - int(layer.bounds.zero)
    sums = numbers @ columns.numpy().astype(np.int64)
    expected = torch.from_numpy(sums).float() * (scale * layer.bounds.step) + ordinary.bias
    assert same_bits(said.detach(), expected.detach())
    again = weight_of(columns, scale, layer.weight.shape)
    layer.load_state_dict(layer.state_dict() | {"weight": again})
    assert same_bits(layer(given).detach(), said.detach()), "what is read back gives the same again"


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("frames", [10, 11])
def test_a_convolution_is_near_that_of_floats(stride: int, frames: int) -> None:
    ordinary = nn.Conv1d(6, 9, 3, stride=stride, padding=1)
    layer = WholeConv1d(6, 9, 3, stride=stride, padding=1)
    layer.load_state_dict(layer.state_dict() | ordinary.state_dict())
    given = random(2, 6, frames)
    layer.bounds.put(float(given.min()), float(given.max()))
    said, wanted = layer(given), ordinary(given)
    assert said.shape == wanted.shape
    assert float((said - wanted).abs().max()) < 0.05
    write_columns(layer)
    again = weight_of(layer.get_buffer("columns"), layer.get_buffer("scale"), layer.weight.shape)
    assert torch.allclose(again, layer.weight, atol=float(layer.get_buffer("scale").max()))


def test_no_value_of_gelu_lies_near_the_border_between_two_steps() -> None:
    """So that each is rounded alike however a processor works it out."""
    x = np.arange(-8.0, 8.0 + BENT_UNIT, BENT_UNIT)
    exact = 0.5 * x * erfc(-x / np.sqrt(2.0)) / GELU_UNIT
    from_border = np.abs(np.abs(exact - np.floor(exact)) - 0.5)
    # Half of x times 1 + erf, which is out by as much near 0 as near 2; and the product by a last bit.
    error = FLOAT_ERROR * (0.5 * np.abs(x) + np.abs(exact) * GELU_UNIT) / GELU_UNIT
    assert np.all(from_border > 10 * error)
    beyond = np.array([-8.0, 8.0, 8.5, 30.0])
    assert np.array_equal(gelu(torch.from_numpy(beyond).float()).numpy(), np.maximum(beyond, 0.0))
    given = random(1_000)
    assert torch.allclose(gelu(given), F.gelu(given), atol=BENT_UNIT)


def test_no_share_of_attention_lies_near_the_border_between_two_steps() -> None:
    step = float(torch.tensor(1.0 / SHARE_STEPS))
    finest = WholeAttention()
    for steps in finest.steps():
        steps.put(-1e-3, 1e-3)
    finest_unit = float(finest.query.step * finest.key.step) / 8.0
    assert finest_unit == FINEST_STEP**2 / 8.0 == 2.0**-13
    for power in range(3, 14):
        unit = 2.0**-power
        border = (np.arange(SHARE_STEPS) + 0.5) * step
        at = np.log(border) / unit  # in steps of the scores, which are whole
        for whole in (np.floor(at), np.ceil(at)):
            from_border = np.abs(np.exp(whole * unit) - border) / border
            assert np.all(from_border > 2.5 * FLOAT_ERROR), power


def test_attention_is_near_that_of_floats_and_knows_no_order_of_what_it_attends_to() -> None:
    query, key, value = (random(2, 4, 50, 64, seed=seed) for seed in (1, 2, 3))
    attention = WholeAttention()
    for steps, given in zip(attention.steps(), (query, key, value), strict=True):
        steps.put(float(given.min()), float(given.max()))
    said, wanted = attention(query, key, value), F.scaled_dot_product_attention(query, key, value)
    assert float((said - wanted).square().mean() / wanted.var()) < 0.01
    order = torch.randperm(50, generator=torch.Generator().manual_seed(4))
    assert same_bits(attention(query, key[:, :, order], value[:, :, order]), said)
    floats = F.scaled_dot_product_attention(query, key[:, :, order], value[:, :, order])
    assert not same_bits(floats, wanted), "floats do"


def test_products_and_norms_know_no_order() -> None:
    given, order = random(30, 512), torch.randperm(512, generator=torch.Generator().manual_seed(4))
    layer, norm, ordinary = WholeLinear(512, 20, bias=False), WholeNorm(512), nn.LayerNorm(512)
    layer.bounds.put(-3.0, 3.0)
    shuffled = copy.deepcopy(layer)
    with torch.no_grad():
        shuffled.weight.copy_(layer.weight[:, order])
        assert same_bits(shuffled(given[:, order]), layer(given))
        assert same_bits(norm(given[:, order]), norm(given)[:, order])
        assert torch.allclose(norm(given), ordinary(given), atol=1e-4)
        assert not same_bits(F.linear(given[:, order], shuffled.weight), F.linear(given, layer.weight)), (
            "floats do"
        )


def test_a_step_in_the_input_of_a_float_s_last_bit_is_not_heard() -> None:
    """As another processor's arithmetic before the encoder might have it."""
    spectrogram = WholeSpectrogram(200).eval()
    clip = torch.from_numpy(canonicalise(speechlike(3.0)).samples)[None]
    wide = spectrogram(clip)
    steps = Steps()
    steps.put(float(wide.min()), float(wide.max()))
    reversed_sums = WholeSpectrogram(200).eval()
    order = torch.randperm(MELS, generator=torch.Generator().manual_seed(4))
    reversed_sums.mels = spectrogram.get_buffer("mels")[order]  # another product of matrices
    assert same_bits(steps(reversed_sums(clip)), steps(wide)[:, :, order])
    ordinary = RecogniserSpectrogram(200).eval()(clip)
    assert torch.allclose(wide, ordinary, atol=1e-5)


def encoders(seed: int = 3) -> tuple[Encoder, Encoder]:
    """One in floats and one of the same weights in whole numbers, whose bounds are measured on noise."""
    torch.manual_seed(seed)
    ordinary = Encoder(BORROWED["base"], 2, 32, last_step=2, arithmetic=FLOATS).eval()
    nn.init.normal_(ordinary.places, std=0.1)
    whole = Encoder(BORROWED["base"], 2, 32, last_step=2, arithmetic=WHOLE).eval()
    whole.load_state_dict(whole.state_dict() | ordinary.state_dict())
    given = [random(1, 1, MELS, 80, seed=seed) for seed in range(4)]
    measure(whole, ordinary, lambda: [ordinary(one) for one in given])
    return ordinary, whole


def test_an_encoder_of_whole_numbers_says_nearly_what_that_of_floats_says() -> None:
    ordinary, whole = encoders()
    given = random(2, 1, MELS, 120, seed=9)
    with torch.no_grad():
        for said, wanted in zip(whole(given), ordinary(given), strict=True):
            assert said.shape == wanted.shape
            assert float((said - wanted).square().mean() / wanted.var()) < 0.02


def test_bounds_are_the_mean_of_the_smallest_and_of_the_largest_numbers() -> None:
    ordinary, whole = encoders()
    given = [random(1, 1, MELS, 80, seed=seed) for seed in range(4)]
    low, high = (np.mean([float(getattr(one, kind)()) for one in given]) for kind in ("min", "max"))
    assert bounds_of(whole)["first.bounds.step"] == pytest.approx((high - low) / INPUT_STEPS, rel=1e-5)
    heard: list[Tensor] = []
    hook = ordinary.get_submodule("blocks.1.attention").register_forward_pre_hook(lambda _, x: heard.append(x[1]))
    for one in given:
        ordinary(one)
    hook.remove()
    widest = max(-np.mean([float(x.min()) for x in heard]), np.mean([float(x.max()) for x in heard]))
    step = bounds_of(whole)["blocks.1.attention.key.step"]
    assert 0.7 < widest / WEIGHT_STEPS / step < 1.42


def test_what_else_is_in_a_batch_changes_no_bit() -> None:
    _, whole = encoders()
    given = torch.cat([random(1, 1, MELS, 80, seed=5), 30.0 * random(2, 1, MELS, 80, seed=6)])
    with torch.no_grad():
        for together, alone in zip(whole(given), whole(given[:1]), strict=True):
            assert same_bits(together[:1], alone)


def test_the_last_block_answers_for_every_so_many_frames_as_it_would_for_all() -> None:
    ordinary, _ = encoders()
    every = Encoder(BORROWED["base"], 2, 32).eval()
    every.load_state_dict(ordinary.state_dict())
    given = random(2, 1, MELS, 90, seed=9)
    with torch.no_grad():
        some, all_of_them = ordinary(given), every(given)
    assert [layer.shape[1] for layer in some] == [45, 45, 23]
    assert torch.equal(some[1], all_of_them[1])
    assert torch.allclose(some[2], all_of_them[2][:, ::2], atol=1e-4)


def lived() -> SpoofNetwork:
    """A network whose encoder has bounds measured on speech."""
    torch.manual_seed(2)
    network = build_network("recogniser", {**MODEL, "encoder": "base"})[0].eval()
    member = network.members[0]
    assert isinstance(member, RecogniserMember)
    member.backbone.load_state_dict(
        member.backbone.state_dict()
        | Encoder(BORROWED["base"], 2, 160, heads=5, channels=144, last_step=2).state_dict()
    )
    for name, value in network.state_dict().items():  # of constants that are alike the exporter keeps one
        if (value.ndim == 1 and ".bounds." not in name) or name.endswith("places"):
            nn.init.uniform_(value, 0.2, 0.5)
    ordinary = member.backbone.in_floats().eval()
    clips = [torch.from_numpy(canonicalise(speechlike(2.0, seed=s)).samples)[None] for s in range(3)]
    with torch.no_grad():
        measure(member.backbone, ordinary, lambda: [ordinary(member.frontend(clip)) for clip in clips])
    return network


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[SpoofNetwork, Path]:
    network = lived()
    round_weights(network)
    return network, export_graph(network, tmp_path_factory.mktemp("whole") / "whole.onnx")


def heard_by_layers(
    network: SpoofNetwork, graph: Path, clip: NDArray[np.float32], *, optimised: bool
) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Of each of the blocks' layers what comes in, in the graph and in PyTorch."""
    model = onnx.load(graph)
    heard = {
        node.input[1].removesuffix(".columns"): node.input[0]
        for node in model.graph.node
        if node.op_type == "MatMulInteger" and ".blocks." in node.input[1]
    }
    for name in sorted(set(heard.values())):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.UINT8, None))
    settings = onnxruntime.SessionOptions()
    if not optimised:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    theirs = session.run(list(heard.values()), {INPUT: clip})
    ours: dict[str, Tensor] = {}
    listening = copy.deepcopy(network)
    for name in heard:
        listening.get_submodule(f"{name}.bounds").register_forward_hook(
            lambda _module, _given, numbers, name=name: ours.__setitem__(name, numbers)
        )
    with torch.no_grad():
        listening(torch.from_numpy(clip))
    return {name: (numbers, ours[name].numpy()) for name, numbers in zip(heard, theirs, strict=True)}


@pytest.mark.pipeline
@pytest.mark.parametrize("optimised", [True, False])
def test_the_graph_hears_what_pytorch_hears_to_the_last_bit(
    exported: tuple[SpoofNetwork, Path], optimised: bool
) -> None:
    """Two libraries whose floats differ in their last bits, as two processors' may."""
    network, graph = exported
    for seed in range(4):
        clip = canonicalise(speechlike(3.0, seed=seed)).samples[None]
        heard = heard_by_layers(network, graph, clip, optimised=optimised)
        assert len(heard) == 2 * 6
        for name, (theirs, ours) in heard.items():
            assert theirs.dtype == np.uint8 and np.unique(theirs).size > 50, name
            assert np.array_equal(theirs, ours), name


@pytest.mark.pipeline
def test_the_graph_is_read_back_into_its_network_and_written_again(
    exported: tuple[SpoofNetwork, Path], tmp_path: Path
) -> None:
    network, graph = exported
    assert read_bounds(onnx.load(graph)).keys() == bounds_of(network).keys()
    again, _ = build_network("recogniser", {**MODEL, "encoder": "base"})
    (member,) = again.members
    assert isinstance(member, Member)
    take(member, str(graph))
    assert bounds_of(again) == bounds_of(network)
    assert weights_of(again).keys() == weights_of(network).keys()
    assert check_parity(again.eval(), graph, random_batches(1)).largest_difference < 1e-5
    second = export_graph(again, tmp_path / "again.onnx")
    assert check_parity(network, second, random_batches(2)).largest_difference < 1e-5


@pytest.mark.pipeline
def test_weights_take_a_byte_each(exported: tuple[SpoofNetwork, Path]) -> None:
    network, graph = exported
    weights = sum(weight.numel() for weight in weights_of(network).values())
    places = 4 * BORROWED["base"].width * 400
    assert weights < graph.stat().st_size < 1.1 * weights + places + 400_000


@pytest.mark.pipeline
def test_an_encoder_of_whole_numbers_stays_as_it_is_in_training(
    smoke_experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: dict[str, Tensor] = {}
    monkeypatch.setattr(
        SpoofNetwork, "borrow", lambda network, _folder: begun.update(copy.deepcopy(network.state_dict()))
    )
    experiment = replace(
        smoke_experiment,
        architecture="recogniser",
        model={**MODEL, "blocks": 1, "last_step": 1},
        train=replace(smoke_experiment.train, max_steps=1, evaluate_every=1, warmup_steps=1, borrowed_rate=1.0),
    )
    with torch.enable_grad():
        train(experiment, tmp_path / "run", quiet=True)
    trained = load(tmp_path / "run" / "last.pt").weights
    stayed = {name for name, value in trained.items() if torch.equal(value, begun[name])}
    assert {name for name in trained if ".backbone." in name} <= stayed
    assert "members.0.head.project.weight" not in stayed
