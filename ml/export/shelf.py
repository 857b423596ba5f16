"""The shelf: `latest.{onnx,json}` and `previous.{onnx,json}` in one folder, changed so that no crash mixes two models.

    keep(Path("models/audio"), graph, spec)     # as `<version>.{onnx,json}`, for good
    put(Path("models/audio"), graph, spec)      # the latest before it becomes `previous`
    exchange(Path("models/audio"))
    put_beside(Path("models/audio"), ACCURATE, graph, spec)

A model is two files, and no file system renames two at once. So everything is first written and synced under other
names; then each graph is renamed and, last, its spec, which holds the graph's hash. Whoever looks in between, or after
a crash there, finds a spec that does not belong to its graph, and `earwitness.model_spec.load_spec` refuses the pair:
a graph is never run with another's spec. The same command once more, or a rollback, makes the pair whole again.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from earwitness.errors import ModelError
from earwitness.model_spec import ModelSpec, load_spec

LATEST, PREVIOUS = "latest", "previous"
ACCURATE = "accurate"
"""A second model, larger and better, that is shipped beside the latest."""
SUFFIXES = (".onnx", ".json")  # in the order of the renames
PART = ".part"
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def unused_version(models: Path, spec: ModelSpec) -> ModelSpec:
    """`spec` under a version that no other model of this shelf has: `.2`, `.3`, ... is put behind it where needed.

    A version is one graph with one spec: findings name it, and are repeated with it. Raises ValueError where it could
    not be a file's name.
    """
    if not PLAIN_NAME.fullmatch(spec.model_version):
        raise ValueError(
            f"the version {spec.model_version!r} can't be a file's name: use letters, digits, - _ and ."
        )
    kept = [model for path in models.glob("[!.]*.onnx") if (model := whole(models, path.stem)) is not None]
    taken = {model.model_version: model.to_json() for model in kept}
    number, wanted = 1, spec
    while taken.get(wanted.model_version, wanted.to_json()) != wanted.to_json():
        number += 1
        wanted = replace(spec, model_version=f"{spec.model_version}.{number}")
    return wanted


def keep(models: Path, graph: Path, spec: ModelSpec) -> None:
    """Leave a model on the shelf under its version: runs can name it, and be repeated with it, whatever is the latest.

    Nothing is written where it stands there already; a pair that a crash tore is written anew.
    """
    there = whole(models, spec.model_version)
    if there is not None and there.to_json() == spec.to_json():
        return
    put_beside(models, spec.model_version, graph, spec)


def put(models: Path, graph: Path, spec: ModelSpec, *, keep_previous: bool) -> None:
    """Make `graph` and `spec` the latest model; with `keep_previous` the whole one before it becomes `previous`."""
    models.mkdir(parents=True, exist_ok=True)
    with _staging(models) as staged:
        if keep_previous and whole(models, LATEST) is not None:
            for suffix in SUFFIXES:
                staged.append(_copied(models / f"{LATEST}{suffix}", models / f"{PREVIOUS}{suffix}"))
        staged.extend(_pair(models, LATEST, graph, spec))


def put_beside(models: Path, name: str, graph: Path, spec: ModelSpec) -> None:
    """Make `graph` and `spec` the model of that name; the one before it is lost unless `keep` was called for it."""
    models.mkdir(parents=True, exist_ok=True)
    with _staging(models) as staged:
        staged.extend(_pair(models, name, graph, spec))


def exchange(models: Path) -> None:
    """`previous` becomes the latest, and the latest `previous`. Needs a whole `previous`; a torn latest is dropped."""
    old, new = (LATEST, PREVIOUS) if whole(models, LATEST) is not None else (None, PREVIOUS)
    with _staging(models) as staged:
        for source, target in ((new, LATEST), (old, PREVIOUS)):
            if source is not None:
                staged += [_copied(models / f"{source}{s}", models / f"{target}{s}") for s in SUFFIXES]


def whole(models: Path, name: str) -> ModelSpec | None:
    """The spec of a model on the shelf; None where it is missing, or graph and spec are not of one model."""
    try:
        return load_spec(models / f"{name}.onnx")
    except ModelError:
        return None


@contextmanager
def _staging(models: Path) -> Iterator[list[tuple[Path, Path]]]:
    """Collects (staged, final) names; renames them in order once all are written, and syncs the folder."""
    _sweep(models)  # what a process that was killed left behind
    staged: list[tuple[Path, Path]] = []
    try:
        yield staged
        for part, final in staged:
            os.replace(part, final)  # noqa: PTH105  # by the name that the test of a kill interrupts
            sync_folder(models)
    finally:
        _sweep(models)


def _sweep(models: Path) -> None:
    for stale in models.glob(f".*{PART}"):
        stale.unlink()


def _pair(models: Path, name: str, graph: Path, spec: ModelSpec) -> list[tuple[Path, Path]]:
    """Both files of a model, in the order of the renames."""
    return [_copied(graph, models / f"{name}.onnx"), _written(spec.to_json(), models / f"{name}.json")]


def _copied(source: Path, target: Path) -> tuple[Path, Path]:
    part = target.with_name(f".{target.name}{PART}")
    with source.open("rb") as reader, part.open("wb") as writer:
        shutil.copyfileobj(reader, writer)
        writer.flush()
        os.fsync(writer.fileno())
    return part, target


def _written(text: str, target: Path) -> tuple[Path, Path]:
    part = target.with_name(f".{target.name}{PART}")
    with part.open("w", encoding="utf-8") as writer:
        writer.write(text)
        writer.flush()
        os.fsync(writer.fileno())
    return part, target


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut, in their order."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
