"""What a user names on the command line, as recordings: files, folders and manifests.

    for path in each_recording([Path("clip.wav"), Path("folder"), Path("list.csv")]): ...

A folder gives the files in it, at any depth, whose name ends like a recording's, sorted; a `.csv` gives its column
`path` or `file`, a `.txt` one path a line, both relative to where they lie. A file named outright is taken
whatever its name. Nothing is opened but manifests.
"""

import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from earwitness.errors import MediaNotFoundError, UnreadableMediaError

MEDIA_SUFFIXES = frozenset((
    ".3g2", ".3ga", ".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".asf", ".au", ".avi",
    ".awb", ".caf", ".flac", ".flv", ".gsm", ".m4a", ".m4b", ".m4v", ".mka", ".mkv", ".mov", ".mp2", ".mp3",
    ".mp4", ".mpeg", ".mpg", ".mts", ".oga", ".ogg", ".ogv", ".opus", ".snd", ".ts", ".tta", ".w64", ".wav",
    ".wave", ".weba", ".webm", ".wma", ".wmv", ".wv",
))  # fmt: skip
"""How names of recordings end, here and in uploads; what a file is, `earwitness.media` finds out."""
PATH_COLUMNS = ("path", "file")


MANIFEST_SUFFIXES = (".csv", ".txt")


def count_recordings(named: Iterable[Path]) -> int:
    """How many `each_recording` gives. Raises what it raises, so that a long work begins with a manifest that holds."""
    return sum(1 for _ in each_recording(named))


def each_recording(named: Iterable[Path]) -> Iterator[Path]:
    """All recordings that `named` stands for, in order; one that is named twice comes twice.

    They are found as they are asked for: of a million none is held. Raises MediaNotFoundError for a name where there is
    nothing, UnreadableMediaError for a manifest that is none. What a manifest lists may be missing: that is found out,
    and told, file by file.
    """
    for path in named:
        yield from _expand(path)


def _expand(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from _in_folder(path)
    elif not path.exists():
        raise MediaNotFoundError(f"{path} is not there: check the path")
    elif path.suffix.lower() in MANIFEST_SUFFIXES and not path.is_file():
        raise UnreadableMediaError(f"{path.name} is no regular file: a list must be one")
    elif path.suffix.lower() == ".csv":
        yield from _csv_manifest(path)
    elif path.suffix.lower() == ".txt":
        yield from _text_manifest(path)
    else:
        yield path


def _in_folder(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as found:
        entries = sorted(
            (entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name
        )
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):  # a link could lead round in a circle
            yield from _in_folder(folder / entry.name)
        elif Path(entry.name).suffix.lower() in MEDIA_SUFFIXES and entry.is_file():
            yield folder / entry.name


def _csv_manifest(path: Path) -> Iterator[Path]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            column = next((name for name in PATH_COLUMNS if name in (rows.fieldnames or ())), None)
            if column is None:
                raise UnreadableMediaError(f"the manifest {path.name} has no column `path` or `file`: add one")
            for row in rows:
                if row[column]:
                    yield path.parent / row[column]
    except (csv.Error, UnicodeDecodeError) as error:
        raise UnreadableMediaError(f"the manifest {path.name} is no CSV text in UTF-8: {error}") from error


def _text_manifest(path: Path) -> Iterator[Path]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                if line.strip():
                    yield path.parent / line.strip()
    except UnicodeDecodeError as error:
        raise UnreadableMediaError(f"the list {path.name} is no text in UTF-8: {error}") from error
