"""Promotion and rollback killed at every rename: no graph is ever served with another's spec, and nothing is lost."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from earwitness.errors import ModelMismatchError
from earwitness.model_spec import file_sha256, load_spec
from ml.export import shelf

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "audio" / "latest.onnx"
KILLED = 9
# A process that dies at its n-th rename without unwinding, as by a power cut: `finally` would not run either.
DIES_AT = """
import os, sys
from pathlib import Path
count, rename = 0, os.replace
def dying(source, target):
    global count
    count += 1
    if count == {nth}:
        os._exit({killed})
    rename(source, target)
os.replace = dying
from earwitness.model_spec import load_spec
from ml.export import shelf
{deed}
"""
PUT = "shelf.put(Path({models!r}), Path({new!r}), load_spec(Path({new!r})), keep_previous=True)"
EXCHANGE = "shelf.exchange(Path({models!r}))"


def model(folder: Path, name: str) -> Path:
    """A model with bytes and a version of its own, made from the shipped one."""
    folder.mkdir(exist_ok=True)
    graph = onnx.load(SHIPPED)
    graph.producer_name = name
    path = folder / f"{name}.onnx"
    onnx.save_model(graph, path)
    spec = replace(load_spec(SHIPPED), model_version=name, graph_sha256=file_sha256(path))
    path.with_suffix(".json").write_text(spec.to_json())
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {name: model(folder, name) for name in ("oldest", "old", "new")}


@pytest.fixture
def models(tmp_path: Path, made: dict[str, Path]) -> Path:
    """`old` is the latest, `oldest` the one before."""
    folder = tmp_path / "audio"
    folder.mkdir()
    for name, source in ((shelf.LATEST, made["old"]), (shelf.PREVIOUS, made["oldest"])):
        for suffix in shelf.SUFFIXES:
            shutil.copy(source.with_suffix(suffix), folder / f"{name}{suffix}")
    return folder


def version(models: Path, name: str) -> str | None:
    """What a reader gets: the version of a whole model, None where it is refused."""
    try:
        return load_spec(models / f"{name}.onnx").model_version
    except ModelMismatchError:
        return None


def killed(deed: str, nth: int, **values: str) -> None:
    script = DIES_AT.format(nth=nth, killed=KILLED, deed=deed.format(**values))
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == KILLED


# Renames: previous.onnx, previous.json, latest.onnx, latest.json.
@pytest.mark.parametrize(
    ("nth", "latest", "previous"),
    [(1, "old", "oldest"), (2, "old", None), (3, "old", "old"), (4, None, "old")],
)
def test_a_promotion_killed_at_any_rename_leaves_a_whole_model_or_a_refused_pair(
    models: Path, made: dict[str, Path], nth: int, latest: str | None, previous: str | None
) -> None:
    killed(PUT, nth, models=str(models), new=str(made["new"]))
    assert (version(models, shelf.LATEST), version(models, shelf.PREVIOUS)) == (latest, previous)
    shelf.put(models, made["new"], load_spec(made["new"]), keep_previous=True)
    assert version(models, shelf.LATEST) == "new"
    assert version(models, shelf.PREVIOUS) == "old", "what was shipped before is still there to roll back to"
    assert sorted(p.name for p in models.iterdir()) == [
        "latest.json", "latest.onnx", "previous.json", "previous.onnx",
    ]  # fmt: skip


# Renames: latest.onnx, latest.json, previous.onnx, previous.json.
@pytest.mark.parametrize(
    ("nth", "latest", "previous"),
    [(1, "old", "oldest"), (2, None, "oldest"), (3, "oldest", "oldest"), (4, "oldest", None)],
)
def test_a_rollback_killed_at_any_rename_leaves_a_whole_model_or_a_refused_pair(
    models: Path, nth: int, latest: str | None, previous: str | None
) -> None:
    killed(EXCHANGE, nth, models=str(models))
    assert (version(models, shelf.LATEST), version(models, shelf.PREVIOUS)) == (latest, previous)
    if latest is None:
        shelf.exchange(models)
        assert version(models, shelf.LATEST) == "oldest", "a torn latest is replaced by the one before"


def test_an_exchange_twice_changes_nothing(models: Path) -> None:
    before = {path.name: path.read_bytes() for path in models.iterdir()}
    shelf.exchange(models)
    assert (version(models, shelf.LATEST), version(models, shelf.PREVIOUS)) == ("oldest", "old")
    shelf.exchange(models)
    assert {path.name: path.read_bytes() for path in models.iterdir()} == before


def test_the_first_model_makes_the_folder(tmp_path: Path, made: dict[str, Path]) -> None:
    shelf.put(tmp_path / "models" / "audio", made["new"], load_spec(made["new"]), keep_previous=True)
    assert version(tmp_path / "models" / "audio", shelf.LATEST) == "new"
    assert shelf.whole(tmp_path / "models" / "audio", shelf.PREVIOUS) is None


KEEP = "shelf.keep(Path({models!r}), Path({new!r}), load_spec(Path({new!r})))"


@pytest.mark.parametrize("nth", [1, 2])
def test_keeping_a_model_killed_at_any_rename_harms_no_other_and_is_made_whole_by_the_next(
    models: Path, made: dict[str, Path], nth: int
) -> None:
    killed(KEEP, nth, models=str(models), new=str(made["new"]))
    assert (version(models, shelf.LATEST), version(models, shelf.PREVIOUS)) == ("old", "oldest")
    assert shelf.whole(models, "new") is None
    shelf.keep(models, made["new"], load_spec(made["new"]))
    assert version(models, "new") == "new"
    assert len(list(models.iterdir())) == 6


def test_a_version_is_one_graph_with_one_spec(models: Path) -> None:
    latest = models / "latest.onnx"
    shipped = load_spec(latest)
    assert shelf.unused_version(models, shipped) == shipped, "the same once more"
    again = replace(shipped, thresholds_chosen="anew")
    second = shelf.unused_version(models, again)
    assert second == replace(again, model_version="old.2")
    shelf.keep(models, latest, second)
    assert shelf.unused_version(models, again) == second
    assert shelf.unused_version(models, replace(again, seed=9)).model_version == "old.3"


@pytest.mark.parametrize("name", ["../old", "", ".hidden", "a/b"])
def test_a_version_that_is_no_file_s_name_is_refused(models: Path, name: str) -> None:
    with pytest.raises(ValueError, match="file's name"):
        shelf.unused_version(models, replace(load_spec(models / "latest.onnx"), model_version=name))
