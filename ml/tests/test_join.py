"""Networks that were trained apart become one: out of runs, and out of graphs whose runs are gone."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from earwitness.canonical import canonicalise
from ml.config import ConfigError, Experiment
from ml.export.graph import check_parity, export_graph, random_batches
from ml.export.rounding import round_weights
from ml.models import SpoofNetwork, build_network
from ml.models.heads import Member
from ml.tests.speechlike import speechlike
from ml.training.checkpoint import Checkpoint, load, load_network, save
from ml.training.inference import heldout_scores
from ml.training.join import JOINED_KEY, main, restore_norms, take
from ml.training.store import WaveformStore
from ml.training.train import split_clips, train

pytestmark = pytest.mark.pipeline

SERESNET = {
    "frontend": {"margin": 200},
    "channels": [4, 8, 8, 16],
    "blocks": [1, 1, 1, 1],
    "embedding": 8,
    "frames": "local",
    "pool": "rows",
}
RECOGNISER = {"blocks": 1, "hidden": 8, "embedding": 6, "frame_width": 8}


def lived(network: SpoofNetwork) -> SpoofNetwork:
    """As after training: no normalisation and no bias is what it began as."""
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.uniform_(parameter, -0.1, 0.1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
    return network.eval()


PAIR = {"members": [SERESNET, SERESNET | {"frames": "own"}]}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[SpoofNetwork, Path]]:
    """A pair and its graph: as it was trained, and rounded to 8 bits."""
    found = {}
    for rounded in (False, True):
        torch.manual_seed(1)
        network = lived(build_network("ensemble", PAIR)[0])
        if rounded:
            round_weights(network)
        path = tmp_path_factory.mktemp("shipped") / "shipped.onnx"
        found[rounded] = (network, export_graph(network, path))
    return found


@pytest.mark.parametrize("rounded", [False, True])
def test_a_shipped_graph_is_read_back_into_its_network(
    shipped: dict[bool, tuple[SpoofNetwork, Path]], rounded: bool
) -> None:
    _, graph = shipped[rounded]
    again, _ = build_network("ensemble", PAIR)
    for number, member in enumerate(again.members):
        told = take(member, f"{graph}#{number}")  # type: ignore[arg-type]
        assert told["source"] == f"{graph}#{number}" and told["graph_sha256"]
    assert check_parity(again.eval(), graph, random_batches(1)).largest_difference < 1e-5


def test_what_is_read_back_says_the_same_and_can_be_trained_on(
    shipped: dict[bool, tuple[SpoofNetwork, Path]],
) -> None:
    """Normalised by the batch, as in training, it says about what it says of single clips."""
    network, graph = shipped[False]
    clips = [speechlike(2.0, seed=seed) for seed in range(24)]
    batch = torch.from_numpy(np.stack([canonicalise(clip).samples for clip in clips]))
    again, _ = build_network("seresnet", {**SERESNET, "dropout": 0.0})
    (member,) = again.members
    assert isinstance(member, Member)
    take(member, str(graph))
    differences = []
    for restored in (False, True):
        if restored:
            restore_norms(member, clips)
        with torch.no_grad():
            evaluated, trained = again.eval()(batch).score, copy.deepcopy(again).train()(batch).score
            assert torch.allclose(evaluated, network.members[0](batch).score, atol=1e-3)
        differences.append(float((evaluated - trained).abs().mean()))
    assert differences[1] < 0.25 * differences[0]


def test_what_was_read_back_can_be_shipped_and_read_back_again(tmp_path: Path) -> None:
    """A normalisation that was given back has a mean that is its bias, of which the exporter keeps one."""
    wide = {**SERESNET, "embedding": 128}  # large enough to be rounded: then nothing is folded into its matrix
    first, second, third = (lived(build_network("seresnet", wide)[0]) for _ in range(3))
    (member,) = second.members
    assert isinstance(member, Member)
    take(member, str(export_graph(first, tmp_path / "first.onnx")))
    restore_norms(member, [speechlike(2.0, seed=seed) for seed in range(8)])
    round_weights(second)
    graph = export_graph(second, tmp_path / "second.onnx")
    take(third.members[0], str(graph))  # type: ignore[arg-type]  # a ModuleList holds modules
    assert check_parity(third, graph, random_batches(1)).largest_difference < 1e-5


@pytest.fixture
def joint(smoke_experiment: Experiment) -> Experiment:
    model = {"members": [SERESNET], "recognisers": [RECOGNISER]}
    return replace(smoke_experiment, name="joint", architecture="ensemble", model=model)


def write(experiment: Experiment, path: Path) -> Path:
    """As a file, of the smoke experiment's values that matter here."""
    member = "\n".join(f"{key} = {toml(value)}" for key, value in SERESNET.items())
    other = "\n".join(f"{key} = {value}" for key, value in RECOGNISER.items())
    data = experiment.data
    path.write_text(
        f'name = "{experiment.name}"\nseed = {experiment.seed}\narchitecture = "ensemble"\n'
        f"[[model.members]]\n{member}\n[[model.recognisers]]\n{other}\n"
        f'[data]\nmanifest = "{data.manifest}"\nnoise_dir = ""\nholdout_share = {data.holdout_share}\n'
        f'holdout_seed = {data.holdout_seed}\ncache_dir = "{data.cache_dir}"\n'
    )
    return path


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + " }"
    return f'"{value}"' if isinstance(value, str) else str(value)


def test_members_of_a_run_and_of_a_graph_vote_as_equals(
    joint: Experiment, smoke_experiment: Experiment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = replace(
        smoke_experiment,
        architecture="seresnet",
        model=SERESNET,
        train=replace(smoke_experiment.train, max_steps=1, evaluate_every=1),
    )
    train(first, tmp_path / "first", quiet=True)
    torch.manual_seed(5)
    second = lived(build_network("recogniser", RECOGNISER)[0])
    run = tmp_path / "second"
    saved = load(tmp_path / "first" / "last.pt")
    save(
        replace(
            saved,
            experiment=replace(first, architecture="recogniser", model=RECOGNISER),
            averaged_weights=second.state_dict(),
        ),
        run / "last.pt",
    )
    config = write(joint, tmp_path / "joint.toml")
    out = tmp_path / "joint-run"
    assert main(["--config", str(config), "--out", str(out), str(tmp_path / "first"), str(run)]) == 0
    assert "held out_member1: AUC" in capsys.readouterr().out
    done = load(out / "best.pt")
    assert [one["source"] for one in done.provenance[JOINED_KEY]] == [str(tmp_path / "first"), str(run)]
    network, _ = load_network(done)
    clips, split = split_clips(done.experiment)
    store = WaveformStore.open_or_build([clips[i] for i in split.heldout], Path(done.experiment.data.cache_dir))
    joined, _ = heldout_scores(network, store)
    alone, _ = heldout_scores(second, store)
    assert np.std(joined[:, 1]) == pytest.approx(np.std(joined[:, 0]), rel=1e-3)
    assert np.corrcoef(joined[:, 1], alone[:, 0])[0, 1] == pytest.approx(1.0, abs=1e-4)
    uneven = ["--config", str(config), "--weights", "1", "3", "--out", str(tmp_path / "uneven")]
    assert main([*uneven, str(tmp_path / "first" / "best.pt"), str(run)]) == 0
    weighed, _ = heldout_scores(load_network(load(tmp_path / "uneven" / "last.pt"))[0], store)
    assert np.std(weighed[:, 1]) == pytest.approx(3.0 * np.std(weighed[:, 0]), rel=1e-3)
    kept = load(tmp_path / "first" / "last.pt").averaged_weights
    assert torch.equal(
        done.weights["members.0.backbone.layers.0.weight"], kept["members.0.backbone.layers.0.weight"]
    )


def test_frame_scores_may_come_from_another_source(
    shipped: dict[bool, tuple[SpoofNetwork, Path]], tmp_path: Path, smoke_experiment: Experiment
) -> None:
    _, graph = shipped[False]
    torch.manual_seed(8)
    newer = lived(build_network("seresnet", SERESNET)[0])  # whose frame scores are of another kind
    model = replace(smoke_experiment, architecture="seresnet", model=SERESNET)
    weights = newer.state_dict()
    save(Checkpoint(model, 1, weights, weights, {}, 0.5, 0), tmp_path / "newer" / "last.pt")
    joined, _ = build_network("seresnet", PAIR["members"][1])
    (member,) = joined.members
    assert isinstance(member, Member)
    begun = {name: value.clone() for name, value in member.frame_parts()[0].state_dict().items()}
    told = take(member, f"{tmp_path / 'newer'}+{graph}#1")
    assert told["source"] == str(tmp_path / "newer")
    assert told["frames"]["source"] == f"{graph}#1"  # type: ignore[index]
    sound = torch.from_numpy(random_batches(1)[1])
    with torch.no_grad():
        assert torch.allclose(joined.eval()(sound).score, newer(sound).score, atol=1e-6)
        own = member.frame_parts()[0].state_dict()
    matrices = [name for name, value in own.items() if value.ndim > 1]  # normalisations were folded into them
    assert matrices and not any(torch.equal(own[name], begun[name]) for name in matrices)
    graph_of, _ = build_network("ensemble", PAIR)
    take(graph_of.members[1], f"{graph}#1")  # type: ignore[arg-type]
    same = graph_of.members[1].frame_parts()[0].state_dict()  # type: ignore[operator]
    assert all(torch.equal(own[name], same[name]) for name in matrices)


def test_a_source_that_does_not_fit_is_told(
    joint: Experiment,
    shipped: dict[bool, tuple[SpoofNetwork, Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = write(joint, tmp_path / "joint.toml")
    call = ["--config", str(config), "--out", str(tmp_path / "out")]
    assert main([*call, "one"]) == 2
    assert "has 2 members: name a source for each" in capsys.readouterr().err
    assert main([*call, "--weights", "1", "0", "--config", str(config), "one", "two"]) == 2
    assert "a number above 0 for each of 2 members" in capsys.readouterr().err
    assert main([*call, str(tmp_path / "none.onnx"), "runs/none"]) == 2
    assert "no graph at" in capsys.readouterr().err
    config.write_text(config.read_text().replace("embedding = 8", "embedding = 16"))
    assert main([*call, str(shipped[False][1]), "runs/none"]) == 2
    assert "this member's" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_members_must_give_frames_alike() -> None:
    with pytest.raises(ConfigError, match="as often"):
        build_network("ensemble", {"members": [{**SERESNET, "time_stride": 1}], "recognisers": [RECOGNISER]})
    with pytest.raises(ConfigError, match="the same for all members"):
        build_network("ensemble", {"members": [SERESNET], "recognisers": [{**RECOGNISER, "margin": 0}]})


@pytest.mark.parametrize("samples", [8_000, 8_159, 8_160, 20_480, 40_001, 64_000])
def test_frames_agree_at_every_length(samples: int) -> None:
    network, _ = build_network("ensemble", {"members": [SERESNET], "recognisers": [RECOGNISER]})
    each = network.eval().each(torch.randn(1, samples) * 0.05)
    first, second = (part.frame_scores for part in each)
    assert first is not None and second is not None and first.shape == second.shape


def test_a_seresnet_without_frames_leaves_place_to_the_others() -> None:
    silent = {**SERESNET, "frames": "none"}
    network, _ = build_network("ensemble", {"members": [SERESNET, silent]})
    clip = torch.randn(2, 20_480) * 0.05
    each, whole = network.eval().each(clip), network(clip)
    assert each[1].frame_scores is None
    torch.testing.assert_close(whole.frame_scores, each[0].frame_scores, rtol=0, atol=0)
    assert all("members.0" in name for name, part in network.named_modules() if part in network.frame_parts())
    with pytest.raises(ConfigError, match="no other gives frame scores"):
        build_network("seresnet", silent)
    with pytest.raises(ConfigError, match="one of the members must give frame scores"):
        build_network("ensemble", {"members": [silent, silent], "recognisers": [{**RECOGNISER, "frame_width": 0}]})


def test_a_recogniser_without_a_frame_head_leaves_place_to_the_others() -> None:
    silent = {**RECOGNISER, "frame_width": 0}
    network, _ = build_network("ensemble", {"members": [SERESNET], "recognisers": [silent]})
    clip = torch.randn(2, 20_480) * 0.05
    each, whole = network.eval().each(clip), network(clip)
    assert each[1].frame_scores is None
    torch.testing.assert_close(whole.frame_scores, each[0].frame_scores, rtol=0, atol=0)
    torch.testing.assert_close(whole.score, (each[0].score + each[1].score) / 2)
    assert all("members.0" in name for name, part in network.named_modules() if part in network.frame_parts())
    with pytest.raises(ConfigError, match="frame_width"):
        build_network("recogniser", silent)
