"""Heads on a recogniser's layers: what they are trained on, and the run that they leave."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from earwitness.waveform import sample_count
from ml.config import ConfigError, Experiment, load_experiment
from ml.datasets.manifest import Label, read_manifest
from ml.evaluation.metrics import roc_auc
from ml.evaluation.scores import CLEAN
from ml.models import build_network
from ml.tests.conftest import SMOKE
from ml.training import borrowed
from ml.training.batches import load_bank
from ml.training.borrowed import (
    AUGMENTED,
    COPIED,
    CROP_S,
    CROPPED,
    CROPS,
    HEADS,
    Work,
    check_heeded,
    fresh_network,
    listener,
    main,
    statistics_of,
)
from ml.training.checkpoint import load, load_network
from ml.training.heads import HeadRecipe
from ml.training.inference import heldout_scores
from ml.training.store import WaveformStore
from ml.training.train import split_clips, train
from ml.vocoders.copies import Copies

pytestmark = pytest.mark.pipeline


def test_what_is_heard_of_a_clip(listener_config: Path, toy_manifest: Path, tmp_path: Path) -> None:
    """As it lies; crops of it through the augmentation, different ones each time; copies of bona fide clips alone."""
    experiment = load_experiment(listener_config)
    clips = [clip for clip in read_manifest(toy_manifest) if clip.split == "train"][:6]
    assert {clip.label for clip in clips} == set(Label)
    store = WaveformStore.open_or_build(clips, tmp_path / "store")
    bank = load_bank("", store)
    length = np.diff(store.offsets)
    copies = Copies(store.offsets, (np.full(store.offsets[-1], 1_000, np.int16),))
    clean, first, second, copied = (
        Work(store, name, experiment, bank, copies)
        for name in (CLEAN, f"{AUGMENTED}-0", f"{AUGMENTED}-1", f"{COPIED}-0")
    )
    assert np.array_equal(clean.waveform(0), store.waveform(0))
    assert clean.clips() == first.clips() == list(range(6))
    assert copied.clips() == [i for i, clip in enumerate(store.clips) if clip.label is Label.BONAFIDE]
    for index in range(6):
        assert first.waveform(index).size <= length[index]
        assert np.array_equal(first.waveform(index), first.waveform(index))
    different = [not np.array_equal(first.waveform(i), second.waveform(i)) for i in range(6)]
    assert any(different)
    plain = replace(experiment, augment=replace(experiment.augment, untouched=1.0))
    still = Work(store, f"{COPIED}-0", plain, bank, copies)
    assert np.allclose(still.waveform(still.clips()[0]), 1_000 / 32_767, atol=1e-4)


def test_statistics_are_worked_out_once(listener_config: Path, tmp_path: Path) -> None:
    experiment = load_experiment(listener_config)
    clips, split = split_clips(experiment)
    cache = tmp_path / "cache"
    store = WaveformStore.open_or_build([clips[i] for i in split.heldout], cache)
    network, _ = build_network("recogniser", experiment.model)
    network.borrow(cache)
    work = Work(store, CLEAN, experiment, load_bank("", store))
    first = statistics_of(work, network, cache, jobs=1)
    assert first.shape == (len(store.clips), 3 * 384 * 2)
    (kept,) = cache.glob("statistics-*.npy")
    np.save(kept, first + 1.0)
    assert np.array_equal(statistics_of(work, network, cache, jobs=1), first + 1.0)
    with torch.no_grad():  # another encoder says something else
        network.members[0].backbone.places.add_(0.1)  # type: ignore[union-attr,operator]
    assert not np.array_equal(statistics_of(work, network, cache, jobs=1), first + 1.0)


def test_the_command_prints_its_table_and_leaves_a_run_that_a_stage_goes_on_from(
    listener_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(borrowed, "RECIPE", HeadRecipe(steps=60))
    run = tmp_path / "listener-seed7"
    call = ["--config", str(listener_config), "--jobs", "1", "--conditions", "clean", "g711", "--out", str(run)]
    assert main(call) == 0
    assert np.float64(1e-310) * 0.5 > 0.0, "the smallest numbers are not flushed to 0 for whoever called"
    told = capsys.readouterr()
    assert all(f" {layer} " in told.err for layer in ("second", "blocks.0.out", "blocks.0.narrow"))
    printed = told.out.splitlines()
    rows = [line.strip("| ").split(" | ") for line in printed[2:]]
    assert [row[0] for row in rows] == ["clean"] * 3 + ["g711"] * 3
    assert [row[1] for row in rows[:3]][1:] == [f"smoke, {HEADS} heads", "both"]
    saved = load(run / "last.pt")
    network, _ = load_network(saved)
    experiment: Experiment = saved.experiment
    clips, split = split_clips(experiment)
    store = WaveformStore.open_or_build([clips[i] for i in split.heldout], tmp_path / "cache")
    scores, is_spoof = heldout_scores(network, store)
    # The table hears whole clips, this the first 4 s cut to whole frames: nearly the same.
    assert roc_auc(scores[:, 0].astype(np.float64), is_spoof) == pytest.approx(
        saved.history[-1]["heldout_auc"], abs=0.1
    )
    again = fresh_network(experiment).state_dict()
    frames = [name for name in again if ".frames." in name]
    assert frames and all(torch.equal(again[name], saved.averaged_weights[name]) for name in frames), "seeded"
    begun = {name: value for name, value in network.state_dict().items() if ".frames." not in name}
    stage = replace(
        experiment,
        name="placed",
        start_from="listener",
        train=replace(experiment.train, max_steps=2, evaluate_every=2, only_frames=True, batch_size=12),
    )
    # `start_from` names the run by its experiment: the folder says listener, and so must what is asked for.
    train(stage, tmp_path / "placed-seed7", quiet=True)
    after = load(tmp_path / "placed-seed7" / "last.pt").averaged_weights
    assert all(torch.equal(after[name], value) for name, value in begun.items())
    assert any(
        not torch.equal(after[name], value) for name, value in network.state_dict().items() if ".frames." in name
    )


def test_heads_go_on_from_an_encoder_that_another_experiment_trained(
    listener_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(borrowed, "RECIPE", HeadRecipe(steps=5))
    heads = load_experiment(listener_config)
    first = replace(
        heads,
        name="tuned",
        model=dict(heads.model) | {"step": 4},
        train=replace(heads.train, max_steps=2, evaluate_every=2, borrowed_rate=1.0, batch_size=12),
    )
    run = tmp_path / f"tuned-seed{heads.seed}"
    train(first, run, quiet=True)
    tuned = load(run / "last.pt").averaged_weights
    text = listener_config.read_text().replace('name = "smoke"', 'name = "small"\nstart_from = "tuned"')
    text = text.replace("[data]\n", "[data]\npasses = 2\n")
    listener_config.write_text(text.replace("blocks = 1\n", "blocks = 1\nstep = 4\n"))
    out = tmp_path / f"small-seed{heads.seed}"
    call = ["--config", str(listener_config), "--jobs", "1", "--conditions", "clean", "--out", str(out)]
    assert main(call) == 0
    heard = list((tmp_path / "cache").glob("statistics-*.npy"))
    assert len(heard) == 4, "training clips as they lie and twice augmented, and held-out ones"
    small = load(out / "last.pt")
    assert small.provenance["start_from"]["experiment"] == "tuned"
    encoder = {name: value for name, value in small.averaged_weights.items() if ".backbone." in name}
    assert encoder and all(torch.equal(tuned[name], value) for name, value in encoder.items())
    capsys.readouterr()
    monkeypatch.setattr(borrowed, "run_folder", lambda *_: tmp_path / "elsewhere" / "small")
    assert main([*call[:-2]]) == 2, "without the run that it starts from"
    assert "tuned" in capsys.readouterr().err


def test_an_encoder_of_whole_numbers_is_measured_before_its_heads_are_trained(
    listener_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(borrowed, "RECIPE", HeadRecipe(steps=5))
    listener_config.write_text(listener_config.read_text().replace("blocks = 1\n", "blocks = 1\nwhole = true\n"))
    out = tmp_path / "whole-seed7"
    assert main(["--config", str(listener_config), "--jobs", "1", "--conditions", "clean", "--out", str(out)]) == 0
    saved = load(out / "last.pt")
    steps = [float(value) for name, value in saved.averaged_weights.items() if name.endswith(".step")]
    assert len(steps) == 2 + 6 + 4, "of the convolutions, the block's layers and its attention"
    assert 1.0 not in steps
    experiment = load_experiment(listener_config)
    clips, split = split_clips(experiment)
    store = WaveformStore.open_or_build([clips[i] for i in split.heldout], tmp_path / "cache")
    network, _ = load_network(saved)
    work = Work(store, CLEAN, experiment, load_bank("", store))
    heard = statistics_of(work, network, tmp_path / "cache", jobs=1)
    floats = replace(experiment, model={**experiment.model, "whole": False})
    ordinary, _ = build_network("recogniser", floats.model)
    listener(ordinary).backbone.load_state_dict(dict(listener(network).backbone.named_parameters()))
    in_floats = statistics_of(replace(work, experiment=floats), ordinary, tmp_path / "cache", jobs=1)
    assert not np.array_equal(heard, in_floats)
    moved = np.abs(heard - in_floats).mean(axis=0) / in_floats.std(axis=0)
    assert np.median(moved) < 0.2, "rounding is small beside what tells clips apart"


def test_a_network_of_several_members_is_refused() -> None:
    pair, _ = build_network("ensemble", {"recognisers": [{"blocks": 1, "hidden": 8}]})
    with pytest.raises(ConfigError, match="recogniser"):
        listener(pair)


def test_another_architecture_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.toml"
    other.write_text('name = "other"\n')
    assert main(["--config", str(other)]) == 2
    assert 'architecture = "recogniser"' in capsys.readouterr().err


def test_what_heads_are_trained_without_is_refused(
    listener_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = listener_config.read_text().replace("[data]\n", "[data]\ncopy_share = 0.2\n")
    listener_config.write_text(text.replace("[train]\n", "[train]\nlabel_smoothing = 0.1\nmixup_alpha = 0.2\n"))
    assert main(["--config", str(listener_config)]) == 2
    told = capsys.readouterr().err
    assert "without data.copy_share, train.label_smoothing, train.mixup_alpha (" in told


@pytest.mark.parametrize("path", sorted(SMOKE.parent.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_experiment_of_heads_is_trained_as_it_says(path: Path) -> None:
    experiment = load_experiment(path)
    if "Trained by `python -m ml.training.borrowed`" in " ".join(path.read_text().replace("\n# ", " ").split()):
        assert experiment.architecture == "recogniser"
        check_heeded(experiment)


def test_a_missing_experiment_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err


def test_crops_lie_at_the_start_in_the_middle_and_at_the_end(listener_config: Path, tmp_path: Path) -> None:
    experiment = load_experiment(listener_config)
    clips, split = split_clips(experiment)
    store = WaveformStore.open_or_build([clips[i] for i in split.heldout], tmp_path / "cache")
    bank, length = load_bank("", store), sample_count(CROP_S)
    longer = next(i for i in range(len(store.clips)) if store.waveform(i).size > length + CROPS)
    whole = store.waveform(longer)
    first, middle, last = (Work(store, f"{CROPPED}-{n}", experiment, bank).waveform(longer) for n in range(CROPS))
    assert np.array_equal(first, whole[:length]) and np.array_equal(last, whole[-length:])
    start = (whole.size - length) // 2
    assert np.array_equal(middle, whole[start : start + length])
    shorter = next(i for i in range(len(store.clips)) if store.waveform(i).size < length)
    for number in range(CROPS):
        crop = Work(store, f"{CROPPED}-{number}", experiment, bank).waveform(shorter)
        assert np.array_equal(crop, store.waveform(shorter))
