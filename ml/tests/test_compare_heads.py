"""Comparisons of what heads are trained on and how: what is judged by whom, what is refused, what the table says."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.config import ConfigError
from ml.datasets.manifest import UNKNOWN, Clip, read_manifest
from ml.tests.conftest import SMOKE
from ml.training import borrowed, checkpoint, compare_heads
from ml.training.borrowed import main as train_heads
from ml.training.compare_heads import folds_of, load_comparison, main
from ml.training.heads import HeadRecipe
from ml.training.renderings import SOURCE

pytestmark = pytest.mark.pipeline

BEGIN = "seeds = [1, 2]\nfolds = 2\n"
QUICK = HeadRecipe(steps=5)


@pytest.fixture
def run(listener_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of an experiment with heads on a recogniser's layers."""
    monkeypatch.setattr(borrowed, "RECIPE", QUICK)
    monkeypatch.setattr(compare_heads, "RECIPE", QUICK)
    folder = tmp_path / "listener-seed7"
    assert (
        train_heads(["--config", str(listener_config), "--jobs", "1", "--conditions", "--out", str(folder)]) == 0
    )
    return folder


def test_ingredients_are_compared_out_of_fold(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "heads.toml"
    file.write_text(
        BEGIN + "[variants.crops]\ncrops = true\n[variants.none]\npasses = 0\nrecipe = { steps = 5 }\n"
        '[variants.speakers]\nsource_balance = 0.5\nrecipe = { steps = 5, adversary = "speaker" }\n'
    )
    capsys.readouterr()
    assert main(["--config", str(file), "--run", str(run), "--jobs", "1", "--only", "crops", "speakers"]) == 0
    told = capsys.readouterr()
    rows = [line.strip("| ").split(" | ") for line in told.out.splitlines()]
    assert rows[0][:6] == ["variant", "seeds", "auc clean", "eer clean", "auc augmented", "eer augmented"]
    assert [row[:2] for row in rows[2:]] == [["base", "2"], ["crops", "2"], ["speakers", "2"]]
    found = {}
    for line in told.err.splitlines():
        if ", seed " in line:
            name, _, figures = line.partition(": ")
            found[name] = json.loads(figures)
    assert list(found) == [f"{name}, seed {seed}" for seed in (1, 2) for name in ("base", "crops", "speakers")]
    base, crops, speakers = (found[f"{name}, seed 1"] for name in ("base", "crops", "speakers"))
    assert crops["auc augmented"] == base["auc augmented"], "the same heads"
    kept = list((tmp_path / "cache").glob("statistics-*.npy"))
    assert len(kept) == 6, "clean, one pass to train on and one to judge by, and three crops"
    assert speakers != base


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[variants.x]\npasses = -1\n", "variants.x: passes must be 0 or more"),
        ("[variants.x]\npassed = 0\n", "variants.x: unknown key passed"),
        ("[variants.x]\nrecipe = { adversary = 'weather' }\n", "variants.x: adversary"),
        ("[variants]\nx = 3\n", "variants.x must be a table"),
        ("[variants.base]\npasses = 0\n", "base"),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "heads.toml"
    file.write_text(BEGIN + text)
    assert main(["--config", str(file), "--run", str(tmp_path)]) == 2
    assert f"{file}: {told}" in capsys.readouterr().err.replace("no variant may be called 'base'", "base")


def test_what_cannot_be_compared_is_refused(
    run: Path,
    toy_manifest: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "heads.toml"
    file.write_text(BEGIN)
    call = ["--config", str(file), "--run", str(run), "--jobs", "1"]
    assert main([*call, "--only", "mixup"]) == 2
    assert "no variant 'mixup'" in capsys.readouterr().err
    assert main([*call[:3], str(tmp_path / "elsewhere")]) == 2
    assert "elsewhere" in capsys.readouterr().err
    file.write_text("seeds = [1]\nfolds = 500\n")
    assert main(call) == 2
    assert "500 folds need as many source repositories" in capsys.readouterr().err
    file.write_text(BEGIN)
    one_source = tmp_path / "one-source.csv"
    one_source.write_text(re.sub(r"toy-train-\d+", "toy-train", toy_manifest.read_text()))
    assert main([*call, "--manifest", str(one_source)]) == 2
    assert "comes from too few source repositories" in capsys.readouterr().err
    loaded = checkpoint.load

    def trained(path: Path) -> Any:
        saved = loaded(path)
        return replace(saved, experiment=replace(saved.experiment, start_from="another"))

    monkeypatch.setattr(compare_heads, "load", trained)
    assert main(call) == 2
    assert "was trained on the clips that it would be judged by" in capsys.readouterr().err


def test_folds_know_neither_the_places_nor_the_systems_that_they_judge(toy_manifest: Path) -> None:
    clips = read_manifest(toy_manifest)
    spoof = [i for i, clip in enumerate(clips) if clip.is_spoof]
    shared = set(spoof[:40])  # of several repositories
    unknown = set(spoof[40:60])
    clips = [
        replace(clip, lineage="everywhere" if i in shared else UNKNOWN if i in unknown else clip.lineage)
        for i, clip in enumerate(clips)
    ]
    own = [replace(clips[spoof[-1]], source_repo=SOURCE, source_set=SOURCE, lineage="espeak") for _ in range(3)]
    everything = clips + own
    judged_in_all: list[int] = []
    for trained, judged in folds_of(everything, 2):
        judged_in_all += judged.tolist()
        places = ({everything[i].source_repo for i in part} for part in (trained, judged))
        assert not next(places) & next(places)
        systems = [{everything[i].lineage for i in part if everything[i].is_spoof} for part in (trained, judged)]
        assert systems[0] & systems[1] <= {UNKNOWN}
        missing = set(range(len(everything))) - set(trained.tolist()) - set(judged.tolist())
        assert missing and missing <= shared, "nothing is left out but for the system that is judged"
        assert set(range(len(clips), len(everything))) <= set(trained.tolist())
    assert sorted(judged_in_all) == list(range(len(clips)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda clip: replace(clip, lineage="one") if clip.is_spoof else clip, "clips of both classes"),
        (lambda clip: replace(clip, source_repo="one"), "as many source repositories"),
    ],
)
def test_clips_that_cannot_be_folded_are_refused(
    change: Callable[[Clip], Clip], told: str, toy_manifest: Path
) -> None:
    with pytest.raises(ConfigError, match=told):
        folds_of([change(clip) for clip in read_manifest(toy_manifest)], 2)


def test_the_repositorys_comparison_can_be_read() -> None:
    comparison, variants = load_comparison(SMOKE.with_name("compare") / "heads.toml")
    assert list(variants) == ["base", *comparison.variants]
    assert len(set(variants.values())) == len(variants)
    assert np.all([variant.recipe.steps >= 1_500 for variant in variants.values()])
