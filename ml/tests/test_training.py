"""Steps M1 and M4: seeds, repeatable and resumable runs, and the command line that CI runs."""

import itertools
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ml.config import ConfigError, Experiment
from ml.datasets.manifest import Kind, read_manifest, write_manifest
from ml.models import build_network
from ml.models.heads import Scores, mask_frequency
from ml.provenance import LIBRARIES, seed_everything
from ml.tests.conftest import SMOKE
from ml.training.__main__ import main as command
from ml.training.average import WeightAverage
from ml.training.batches import Batch, BatchFactory, load_bank
from ml.training.checkpoint import load, load_network, save
from ml.training.losses import batch_loss
from ml.training.store import WaveformStore
from ml.training.train import (
    GRADIENT_NORM_MAX,
    MAX_PROCESSES,
    Trainable,
    learning_rate,
    split_clips,
    train,
)


def steps(experiment: Experiment, count: int) -> Experiment:
    return replace(
        experiment, train=replace(experiment.train, max_steps=count, evaluate_every=count, checkpoint_every=2)
    )


def same_weights(first: Path, second: Path) -> bool:
    a, b = load(first), load(second)
    return all(
        torch.equal(x[name], y[name])
        for x, y in ((a.weights, b.weights), (a.averaged_weights, b.averaged_weights))
        for name in x
    )


def told_steps(run: Path) -> list[float]:
    return [json.loads(line)["step"] for line in (run / "history.jsonl").read_text().splitlines()]


def test_seeds_are_set() -> None:
    draws = []
    for _ in range(2):
        seed_everything(11, threads=1)
        draws.append((random.random(), np.random.rand(), torch.rand(3).tolist()))
    assert draws[0] == draws[1]
    assert torch.are_deterministic_algorithms_enabled()


def test_two_runs_with_one_seed_give_identical_weights(smoke_experiment: Experiment, tmp_path: Path) -> None:
    for name in ("first", "second"):
        train(steps(smoke_experiment, 5), tmp_path / name, quiet=True)
    assert same_weights(tmp_path / "first" / "last.pt", tmp_path / "second" / "last.pt")


def test_another_seed_gives_other_weights(smoke_experiment: Experiment, tmp_path: Path) -> None:
    train(steps(smoke_experiment, 2), tmp_path / "first", quiet=True)
    train(replace(steps(smoke_experiment, 2), seed=8), tmp_path / "second", quiet=True)
    assert not same_weights(tmp_path / "first" / "last.pt", tmp_path / "second" / "last.pt")


def test_a_resumed_run_equals_one_that_was_never_stopped(smoke_experiment: Experiment, tmp_path: Path) -> None:
    whole = steps(smoke_experiment, 6)
    whole = replace(whole, train=replace(whole.train, evaluate_every=3))
    train(whole, tmp_path / "whole", quiet=True)

    class StoppedError(Exception):
        pass

    network_steps = 0

    def stop_after_three(*_: object) -> None:
        nonlocal network_steps
        network_steps += 1
        if network_steps == 4:
            raise StoppedError

    handle = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, _: stop_after_three() if isinstance(module, Trainable) else None
    )
    with pytest.raises(StoppedError):
        train(whole, tmp_path / "resumed", quiet=True)
    handle.remove()
    assert load(tmp_path / "resumed" / "last.pt").step == 2
    assert told_steps(tmp_path / "resumed") == [3], "evaluated after the last checkpoint"
    train(whole, tmp_path / "resumed", quiet=True)
    assert told_steps(tmp_path / "resumed") == told_steps(tmp_path / "whole") == [3, 6]
    assert same_weights(tmp_path / "whole" / "last.pt", tmp_path / "resumed" / "last.pt")


def test_a_finished_run_is_seen_before_its_clips_are_decoded(smoke_experiment: Experiment, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    short = steps(replace(smoke_experiment, data=replace(smoke_experiment.data, cache_dir=str(cache))), 2)
    train(short, tmp_path / "run", quiet=True)
    shutil.rmtree(cache)
    assert train(short, tmp_path / "run", quiet=True).steps == 2
    assert not cache.exists()


def test_a_checkpoint_says_what_it_is(smoke_experiment: Experiment, tmp_path: Path) -> None:
    train(steps(smoke_experiment, 2), tmp_path, quiet=True)
    checkpoint = load(tmp_path / "last.pt")
    assert checkpoint.experiment == steps(smoke_experiment, 2)
    assert checkpoint.step == 2
    assert len(checkpoint.provenance["manifest_sha256"]) == 64
    assert set(LIBRARIES) < set(checkpoint.provenance["libraries"])
    assert checkpoint.provenance["git_revision"]
    assert checkpoint.provenance["heldout_repositories"]
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == smoke_experiment.seed


def test_training_stops_where_the_held_out_error_no_longer_falls(
    smoke_experiment: Experiment, tmp_path: Path
) -> None:
    stuck = replace(
        smoke_experiment,
        train=replace(
            smoke_experiment.train, max_steps=40, evaluate_every=2, patience=2, learning_rate=1e-12, ema_decay=0.0
        ),
    )
    result = train(stuck, tmp_path, quiet=True)
    assert result.stopped_early
    assert result.steps < 40


def test_a_stage_starts_from_a_run_that_stopped_early(smoke_experiment: Experiment, tmp_path: Path) -> None:
    first = replace(steps(smoke_experiment, 1), name="first")
    folder = tmp_path / f"first-seed{first.seed}"
    train(first, folder, quiet=True)
    saved = load(folder / "last.pt")
    longer = replace(first, train=replace(first.train, max_steps=40, patience=3))
    second = replace(first, name="second", start_from="first")
    save(replace(saved, experiment=longer, evaluations_since_best=2), folder / "last.pt")
    with pytest.raises(ConfigError, match="finish that run first"):
        train(second, tmp_path / "second", quiet=True)
    save(replace(saved, experiment=longer, evaluations_since_best=3), folder / "last.pt")
    assert train(longer, folder, quiet=True).stopped_early
    train(second, tmp_path / "second", quiet=True)
    assert load(tmp_path / "second" / "last.pt").provenance["start_from"]["steps"] == 1


def test_a_fresh_run_that_was_stopped_does_not_go_on_as_the_one_before_it(
    smoke_experiment: Experiment, tmp_path: Path
) -> None:
    class StoppedError(Exception):
        pass

    def stop(module: torch.nn.Module, _: object) -> None:
        if isinstance(module, Trainable):
            raise StoppedError

    train(steps(smoke_experiment, 2), tmp_path, quiet=True)
    assert (tmp_path / "best.pt").exists()
    handle = torch.nn.modules.module.register_module_forward_pre_hook(stop)
    try:
        with pytest.raises(StoppedError):
            train(steps(smoke_experiment, 4), tmp_path, resume=False, quiet=True)
    finally:
        handle.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_run_is_not_continued_with_another_experiment_or_manifest(
    smoke_experiment: Experiment, toy_manifest: Path, tmp_path: Path
) -> None:
    train(steps(smoke_experiment, 2), tmp_path / "run", quiet=True)
    with pytest.raises(ConfigError, match="another experiment"):
        train(replace(steps(smoke_experiment, 4), seed=8), tmp_path / "run", quiet=True)
    fewer = tmp_path / "fewer.csv"
    write_manifest(fewer, read_manifest(toy_manifest)[4:])
    other = replace(smoke_experiment, data=replace(smoke_experiment.data, manifest=str(fewer)))
    with pytest.raises(ConfigError, match="another"):
        train(steps(other, 4), tmp_path / "run", quiet=True)
    assert train(steps(smoke_experiment, 4), tmp_path / "run", quiet=True).steps == 4


def test_a_manifest_without_the_training_split_is_a_clear_error(
    smoke_experiment: Experiment, toy_manifest: Path, tmp_path: Path
) -> None:
    only_dev = tmp_path / "dev.csv"
    write_manifest(only_dev, [clip for clip in read_manifest(toy_manifest) if clip.split == "dev"])
    experiment = replace(smoke_experiment, data=replace(smoke_experiment.data, manifest=str(only_dev)))
    with pytest.raises(ConfigError, match="no clips of the split"):
        train(experiment, tmp_path / "run", quiet=True)


def test_a_missing_checkpoint_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="train first"):
        load(tmp_path / "best.pt")


@pytest.mark.parametrize("count", [2, 5])
def test_the_training_script_always_does_a_few_steps(toy_manifest: Path, tmp_path: Path, count: int) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "ml.training", "--config", str(SMOKE), "--manifest", str(toy_manifest),
            "--max_steps", str(count), "--out", str(tmp_path / "run"), "--quiet", "--json",
        ],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert json.loads(done.stdout)["steps"] == count


def test_the_stages_before_are_trained_first(
    toy_manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SMOKE.read_text().replace("runs/smoke/cache", str(tmp_path / "cache"))
    text = re.sub(r"max_steps = \d+", "max_steps = 1", text)
    (tmp_path / "one.toml").write_text(text.replace('"smoke"', '"one"'))
    (tmp_path / "two.toml").write_text(text.replace('"smoke"', '"two"\nstart_from = "one"'))
    (tmp_path / "three.toml").write_text(text.replace('"smoke"', '"three"\nstart_from = "two"'))
    (tmp_path / "round.toml").write_text(text.replace('"smoke"', '"round"\nstart_from = "round"'))

    def run(name: str) -> int:
        out = tmp_path / "runs" / name
        return command(
            [
                "--config",
                str(tmp_path / f"{name}.toml"),
                "--manifest",
                str(toy_manifest),
                "--out",
                str(out),
                "--quiet",
            ]
        )

    assert run("two") == 0
    assert load(tmp_path / "runs" / "one-seed7" / "last.pt").step == 1
    assert load(tmp_path / "runs" / "two" / "last.pt").provenance["start_from"]["experiment"] == "one"
    assert run("three") == 0
    assert load(tmp_path / "runs" / "two-seed7" / "last.pt").step == 1
    shutil.rmtree(tmp_path / "runs" / "two-seed7")
    assert run("three") == 0, "what has begun needs its first stage no more"
    assert not (tmp_path / "runs" / "two-seed7").exists()
    assert load(tmp_path / "runs" / "three" / "last.pt").provenance["start_from"]["experiment"] == "two"
    assert run("round") == 2
    assert "starts from what starts from it" in capsys.readouterr().err


def test_an_unusable_experiment_is_an_error_of_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ml.training", "--config", str(tmp_path / "none.toml")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_a_folder_of_noises_that_can_t_be_used_is_an_error_of_one_line(
    toy_manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.csv").write_text("name,kind\n")
    config = tmp_path / "noisy.toml"
    text = SMOKE.read_text().replace("runs/smoke/cache", str(tmp_path / "cache"))
    config.write_text(text.replace('noise_dir = ""', f'noise_dir = "{tmp_path}"'))
    call = ["--config", str(config), "--manifest", str(toy_manifest), "--out", str(tmp_path / "run"), "--quiet"]
    assert command(call) == 2
    assert "error: data.noise_dir: " in capsys.readouterr().err


def test_two_processes_train_one_model(
    toy_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the experiment's cache is relative to it
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "-m", "ml.tests.train_and_tell", str(tmp_path), "--config", str(SMOKE), "--manifest", str(toy_manifest),
            "--max_steps", "2", "--out", str(tmp_path / "run"), "--quiet",
        ],
        capture_output=True, text=True, check=True, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stderr.count("decode: 100%") == 2, "one process decodes both parts, the other reads what it kept"
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first[-1]["after"], second[-1]["after"], strict=True))
    trained = load(tmp_path / "run" / "last.pt")
    assert trained.step == len(first) == 2
    network, _ = build_network(trained.experiment.architecture, trained.experiment.model)
    network.load_state_dict(trained.weights)
    assert all(torch.equal(a, b) for a, b in zip(first[-1]["after"], network.parameters(), strict=True))

    # The step that both took is the one of the mean gradient over what either of them heard.
    gradients = []
    for rank, told in enumerate((first[0], second[0])):
        batch = two_processes_batch(trained.experiment, rank)
        assert torch.equal(told["waveforms"], batch.waveforms)
        with torch.no_grad():
            for parameter, value in zip(network.parameters(), told["before"], strict=True):
                parameter.copy_(value)
        network.zero_grad()
        torch.manual_seed(trained.experiment.seed * 1_000_003 * MAX_PROCESSES + rank)
        settings = trained.experiment.train
        (scores,) = Trainable(network.train())(batch.waveforms, settings.frequency_mask_bins, False)
        batch_loss(scores, batch, settings).backward()  # type: ignore[no-untyped-call]
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    mean = [(a + b) / 2 for a, b in zip(*gradients, strict=True)]
    norm = torch.sqrt(sum(((g**2).sum() for g in mean), torch.tensor(0.0)))
    scale = min(1.0, GRADIENT_NORM_MAX / float(norm))
    for ours, theirs in zip(mean, first[0]["gradients"], strict=True):
        assert torch.allclose(ours * scale, theirs, rtol=1e-3, atol=1e-5)
    assert not all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(*gradients, strict=True))


def two_processes_batch(experiment: Experiment, rank: int) -> Batch:
    """What `rank` of two hears in its first step."""
    clips, split = split_clips(experiment)
    store = WaveformStore.open_or_build([clips[i] for i in split.train], Path(experiment.data.cache_dir))
    _, hop = build_network(experiment.architecture, experiment.model)
    return BatchFactory(experiment, store, load_bank("", store), hop)[rank]


def test_batches_hold_both_classes_and_known_shapes(smoke_experiment: Experiment) -> None:
    clips = read_manifest(Path(smoke_experiment.data.manifest))
    store = WaveformStore.open_or_build(clips, Path(smoke_experiment.data.cache_dir))
    _, hop = build_network(smoke_experiment.architecture, smoke_experiment.model)
    factory = BatchFactory(smoke_experiment, store, load_bank("", store), hop)
    for step in range(3):
        batch = factory[step]
        size, samples = batch.waveforms.shape
        assert size == smoke_experiment.train.batch_size
        assert batch.frame_labels.shape == (size, samples // hop)
        assert batch.labels.tolist() == [0.0] * (size // 2) + [1.0] * (size // 2)
        assert torch.isfinite(batch.waveforms).all()
        assert (batch.frame_labels[: size // 2] == 0).all()
        again = factory[step]
        assert torch.equal(batch.waveforms, again.waveforms)


def test_copies_and_splices_are_labelled_by_frame(smoke_experiment: Experiment) -> None:
    experiment = replace(smoke_experiment, data=replace(smoke_experiment.data, copy_share=0.0, splice_share=1.0))
    store = WaveformStore.open_or_build(
        read_manifest(Path(experiment.data.manifest)), Path(experiment.data.cache_dir)
    )
    _, hop = build_network(experiment.architecture, experiment.model)
    batch = BatchFactory(experiment, store, load_bank("", store), hop)[0]
    spoof_frames = batch.frame_labels[experiment.train.batch_size // 2 :].mean(dim=1)
    assert ((spoof_frames > 0) & (spoof_frames < 1)).float().mean() > 0.8


def test_companions_come_from_the_place_of_their_bona_fide_clip(smoke_experiment: Experiment) -> None:
    data = replace(smoke_experiment.data, copy_share=0.0, splice_share=0.0, companion_share=1.0)
    experiment = replace(smoke_experiment, data=data)
    store = WaveformStore.open_or_build(read_manifest(Path(data.manifest)), Path(data.cache_dir))
    _, hop = build_network(experiment.architecture, experiment.model)
    factory = BatchFactory(experiment, store, load_bank("", store), hop)
    for bonafide, (near, weights) in factory.companions.items():
        assert {store.clips[i].source_repo for i in near} == {store.clips[bonafide].source_repo}
        assert weights.sum() == pytest.approx(1.0)
    with_one = [int(i) in factory.companions for i in factory.bonafide]
    assert any(with_one)
    batch = factory[0]
    assert batch.paired.any()
    assert all(with_one) == bool(batch.paired.all())


def test_splices_take_from_the_place_of_their_bona_fide_clip(smoke_experiment: Experiment) -> None:
    data = replace(smoke_experiment.data, companion_donors=1.0)
    experiment = replace(smoke_experiment, data=data)
    store = WaveformStore.open_or_build(read_manifest(Path(data.manifest)), Path(data.cache_dir))
    _, hop = build_network(experiment.architecture, experiment.model)
    factory = BatchFactory(experiment, store, load_bank("", store), hop)
    index, (near, weights) = next(iter(factory.companions.items()))
    only = near[:1]
    factory.companions[index] = (only, weights[:1] / weights[:1].sum())
    donor = factory._donor(index, 8_000, np.random.default_rng(1))
    there = store.waveform(int(only[0]))
    assert any(np.array_equal(donor, there[start : start + 8_000]) for start in range(there.size - 8_000 + 1))


def test_what_is_set_in_is_wholly_synthetic(smoke_experiment: Experiment) -> None:
    data = smoke_experiment.data
    store = WaveformStore.open_or_build(read_manifest(Path(data.manifest)), Path(data.cache_dir))
    first = next(i for i, clip in enumerate(store.clips) if clip.is_spoof)
    edited = tuple(replace(clip, kind=Kind.EDIT) if i == first else clip for i, clip in enumerate(store.clips))
    _, hop = build_network(smoke_experiment.architecture, smoke_experiment.model)
    factory = BatchFactory(smoke_experiment, replace(store, clips=edited), load_bank("", store), hop)
    assert set(factory.spoof) - set(factory.donors) == {first}
    assert factory.donor_weights.sum() == pytest.approx(1.0)


def test_relative_frames_are_alike_in_a_clip_of_one_kind_and_not_in_a_splice(smoke_experiment: Experiment) -> None:
    settings = replace(smoke_experiment.train, relative_frames=True, frame_loss_weight=1.0)

    def loss(frames: list[float], labels: list[float]) -> float:
        scores = Scores(torch.zeros(1), torch.tensor([frames]), torch.zeros(1, 1))
        batch = Batch(torch.zeros(1, 8), torch.zeros(1), torch.tensor([labels]), torch.tensor([False]))
        return float(batch_loss(scores, batch, settings))

    alike, uneven = [0.0, 0.0, 0.0, 0.0], [-1.0, -1.0, 1.0, 1.0]
    of_the_clip = math.log(2.0)
    for kind in (0.0, 1.0):
        assert loss(alike, [kind] * 4) == pytest.approx(of_the_clip - math.log(0.9), abs=1e-5)
        assert loss(alike, [kind] * 4) < loss(uneven, [kind] * 4)
    of_a_quarter = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    assert loss(alike, [0.0, 0.0, 0.0, 1.0]) == pytest.approx(of_the_clip + of_a_quarter, abs=1e-5)
    assert loss(uneven, [0.0, 0.0, 1.0, 1.0]) < loss(alike, [0.0, 0.0, 1.0, 1.0])
    assert loss(uneven, [0.0, 0.0, 1.0, 1.0]) < loss(uneven, [1.0, 1.0, 0.0, 0.0])
    one_unknown = loss([*alike, 9.0], [0.0, 0.0, 0.0, 0.0, float("nan")])
    assert one_unknown == pytest.approx(loss(alike, [0.0] * 4))


def test_the_rank_loss_asks_for_the_order_of_pairs_alone(smoke_experiment: Experiment) -> None:
    def loss(bonafide: float, spoof: float, *, paired: bool) -> float:
        scores = Scores(torch.tensor([bonafide, spoof]), torch.zeros(2, 3), torch.zeros(2, 1))
        batch = Batch(torch.zeros(2, 8), torch.tensor([0.0, 1.0]), torch.zeros(2, 3), torch.tensor([paired]))
        ranked = replace(smoke_experiment.train, rank_loss_weight=1.0)
        plain = replace(smoke_experiment.train, rank_loss_weight=0.0)
        return float(batch_loss(scores, batch, ranked) - batch_loss(scores, batch, plain))

    assert loss(1.0, 2.0, paired=False) == 0.0
    assert loss(1.0, 2.0, paired=True) == pytest.approx(loss(-4.0, -3.0, paired=True), abs=1e-6)
    assert loss(1.0, 2.0, paired=True) < loss(2.0, 1.0, paired=True)


def test_a_run_starts_from_the_end_of_another(smoke_experiment: Experiment, tmp_path: Path) -> None:
    first = replace(steps(smoke_experiment, 2), name="first")
    second = replace(steps(smoke_experiment, 1), name="second", start_from="first")
    with pytest.raises(ConfigError, match="train first"):
        train(second, tmp_path / "second-seed1", quiet=True)
    made_elsewhere = replace(second, train=replace(second.train, max_steps=0))
    with pytest.raises(ConfigError, match="another command makes it"):
        train(made_elsewhere, tmp_path / "second-seed1", quiet=True)
    train(first, tmp_path / f"first-seed{first.seed}", quiet=True)
    unfinished = replace(second, train=replace(second.train, max_steps=1, evaluate_every=1))
    unfinished = replace(unfinished, model={**unfinished.model, "dropout": 0.4})  # a stage may change it
    train(unfinished, tmp_path / "second", quiet=True)
    saved = load(tmp_path / "second" / "last.pt")
    assert saved.provenance["start_from"]["experiment"] == "first"
    parent = load(tmp_path / f"first-seed{first.seed}" / "last.pt").averaged_weights
    # One step of a learning rate that only begins to warm up moves no weight far.
    assert all(
        torch.allclose(saved.weights[k].float(), parent[k].float(), atol=0.05) for k in parent if "score" in k
    )


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"train.max_steps": 4}, "finish that run first"),
        ({"data.holdout_seed": 9}, "held other clips out"),
        ({"model.embedding": 7}, "of another network"),
    ],
)
def test_a_run_starts_only_from_what_fits(
    smoke_experiment: Experiment, tmp_path: Path, change: dict[str, int], what: str
) -> None:
    first = replace(steps(smoke_experiment, 1), name="first")
    folder = tmp_path / f"first-seed{first.seed}"
    train(first, folder, quiet=True)
    second = replace(first, name="second", start_from="first")
    if "train.max_steps" in change:  # the first was meant to be longer than it is
        saved = load(folder / "last.pt")
        save(replace(saved, experiment=steps(first, 4)), folder / "last.pt")
    elif "data.holdout_seed" in change:
        second = replace(second, data=replace(second.data, holdout_seed=9))
    else:
        second = replace(second, model={**second.model, "embedding": 7})
    with pytest.raises(ConfigError, match=what):
        train(second, tmp_path / "second", quiet=True)


@pytest.mark.parametrize("frames", ["local", "own"])
def test_frame_scores_are_trained_alone(smoke_experiment: Experiment, frames: str, tmp_path: Path) -> None:
    """The stage for place: nothing but frame scores changes, so that no finding about a whole recording does."""
    first = replace(steps(smoke_experiment, 1), name="first")
    train(first, tmp_path / f"first-seed{first.seed}", quiet=True)
    local = replace(
        first,
        name="local",
        start_from="first",
        model={**first.model, "frames": frames},
        data=replace(first.data, splice_share=1.0, copy_share=0.0),
        train=replace(first.train, max_steps=3, evaluate_every=3, warmup_steps=0, only_frames=True),
    )
    train(local, tmp_path / "local", quiet=True)
    saved = load(tmp_path / "local" / "last.pt")
    assert 0.0 < saved.history[-1]["heldout_segment_eer"] < 1.0
    assert saved.best_eer == saved.history[-1]["heldout_segment_eer"]
    before, _ = load_network(load(tmp_path / f"first-seed{first.seed}" / "last.pt"))
    after, _ = load_network(saved)
    waves = torch.randn(2, 32_000, generator=torch.Generator().manual_seed(1)) * 0.05
    one, other = before(waves), after(waves)
    assert torch.equal(one.score, other.score)
    assert torch.equal(one.embedding, other.embedding)
    assert not torch.allclose(one.frame_scores, other.frame_scores, atol=1e-4)
    begun, _ = build_network(local.architecture, local.model)
    of_frames = {id(value) for part in begun.frame_parts() for value in part.parameters()}
    trained = {name for name, value in begun.named_parameters() if id(value) in of_frames}
    changed = {
        name for name in saved.weights if not torch.equal(saved.weights[name], saved.averaged_weights[name])
    }
    assert changed & trained and changed & dict(begun.named_parameters()).keys() <= trained


def test_relative_frames_need_frames_without_a_mean(smoke_experiment: Experiment, tmp_path: Path) -> None:
    settings = replace(smoke_experiment.train, relative_frames=True)
    with pytest.raises(ConfigError, match='frames = "own"'):
        train(replace(smoke_experiment, train=settings), tmp_path, quiet=True)


def test_frame_scores_of_another_rate_are_not_trained_alone(smoke_experiment: Experiment, tmp_path: Path) -> None:
    settings = replace(smoke_experiment.train, only_frames=True)
    coarse = replace(smoke_experiment, model={**smoke_experiment.model, "time_stride": 4}, train=settings)
    with pytest.raises(ConfigError, match="one every 5120"):
        train(coarse, tmp_path, quiet=True)


def test_an_unreadable_clip_is_skipped_with_a_line(
    toy_manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = read_manifest(toy_manifest)[:12]
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF not really")
    for _ in range(2):  # decoded, and read back
        store = WaveformStore.open_or_build([*clips, replace(clips[0], path=broken)], tmp_path / "cache")
        assert len(store.clips) == 12
        assert "broken.wav" in store.skipped[0]
        assert f"warning: 1 of 13 clips can't be used, the first: {broken}: " in capsys.readouterr().err


def test_what_is_left_of_a_broken_corpus_is_not_trained_on(
    toy_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the experiment's cache is relative to it
    clips = read_manifest(toy_manifest)[:12]
    gone = [replace(clip, path=tmp_path / f"gone-{number}.wav") for number, clip in enumerate(clips)]
    with pytest.raises(ConfigError, match=r"2 of 14 clips can't be used.*more than 10%"):
        WaveformStore.open_or_build([*clips, *gone[:2]], tmp_path / "cache")
    human = [clip for clip in clips if not clip.is_spoof]
    with pytest.raises(ConfigError, match=r"1 of 7 clips can't be used.*of spoof none is left"):
        WaveformStore.open_or_build([*human, gone[1]], tmp_path / "cache")
    with pytest.raises(ConfigError, match="of bonafide and spoof none is left"):
        WaveformStore.open_or_build(gone, tmp_path / "cache")
    missing = write_manifest(tmp_path / "m.csv", [
        replace(clip, path=tmp_path / clip.path.name) for clip in read_manifest(toy_manifest)
    ])  # fmt: skip
    assert command(["--config", str(SMOKE), "--manifest", str(missing), "--out", str(tmp_path / "run")]) == 2


def test_the_learning_rate_warms_up_and_ends_at_zero(smoke_experiment: Experiment) -> None:
    settings = replace(smoke_experiment.train, max_steps=100, warmup_steps=10)
    rates = [learning_rate(settings, step) for step in range(101)]
    assert rates[0] < rates[9] == pytest.approx(settings.learning_rate)
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[9:]))
    assert rates[100] == pytest.approx(0.0)


def test_masking_blanks_one_band_of_each_clip() -> None:
    torch.manual_seed(1)
    masked = mask_frequency(torch.ones(64, 1, 100, 7), 20)
    blank = (masked[:, 0, :, 0] == 0).sum(1)
    assert blank.max() <= 20
    assert blank.float().mean() == pytest.approx(10, abs=3)
    assert (masked.std(dim=3) == 0).all()


def test_the_average_moves_towards_the_weights(smoke_experiment: Experiment) -> None:
    network, _ = build_network(smoke_experiment.architecture, smoke_experiment.model)
    average = WeightAverage(network, decay=0.5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    average.update(network, step=1000)
    for before, after in zip(network.parameters(), average.network.parameters(), strict=True):
        assert torch.allclose(before - after, torch.tensor(0.5), atol=1e-5)


def test_each_member_of_an_ensemble_learns_from_its_own_loss(smoke_experiment: Experiment) -> None:
    """So that one member's weights don't depend on the other's."""
    network, _ = build_network("ensemble", {"members": [dict(smoke_experiment.model)] * 2})
    waves = torch.randn(4, 16_000, generator=torch.Generator().manual_seed(1)) * 0.05
    batch = Batch(waves, torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.zeros(4, 7), torch.zeros(2, dtype=torch.bool))
    first, _second = Trainable(network)(waves, 0, False)
    batch_loss(first, batch, smoke_experiment.train).backward()  # type: ignore[no-untyped-call]
    touched = [any(p.grad is not None for p in member.parameters()) for member in network.members]
    assert touched == [True, False]


def test_an_ensemble_trains_and_its_history_tells_of_each_member(
    smoke_experiment: Experiment, tmp_path: Path
) -> None:
    twin = replace(
        smoke_experiment, architecture="ensemble", model={"members": [dict(smoke_experiment.model)] * 2}
    )
    train(steps(twin, 2), tmp_path, quiet=True)
    (row,) = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert {"heldout_auc", "heldout_auc_member0", "heldout_auc_member1"} <= row.keys()
    assert load(tmp_path / "last.pt").experiment == steps(twin, 2)
