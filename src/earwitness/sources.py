"""What a user names on the command line, as a list of recordings: files, folders and manifests.

    find_recordings([Path("clip.wav"), Path("folder"), Path("list.csv")])

A folder gives the files in it, at any depth, whose name ends like a recording's, sorted; a `.csv` gives its column
`path` or `file`, a `.txt` one path a line, both relative to where they lie. A file named outright is taken
whatever its name. Nothing is opened but manifests.
"""

import csv
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


def find_recordings(named: Iterable[Path]) -> list[Path]:
    """All recordings that `named` stands for, in order, each once.

    Raises MediaNotFoundError for a name where there is nothing, UnreadableMediaError for a manifest that is none.
    What a manifest lists may be missing: that is found out, and told, file by file.
    """
    found: dict[Path, None] = {}
    for path in named:
        for recording in _expand(path):
            found.setdefault(recording, None)
    return list(found)


def _expand(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(_in_folder(path))
    elif not path.exists():
        raise MediaNotFoundError(f"{path} is not there: check the path")
    elif path.suffix.lower() == ".csv":
        yield from _csv_manifest(path)
    elif path.suffix.lower() == ".txt":
        yield from _text_manifest(path)
    else:
        yield path


def _in_folder(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.suffix.lower() in MEDIA_SUFFIXES and path.is_file():
            yield path


def _csv_manifest(path: Path) -> Iterator[Path]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            column = next((name for name in PATH_COLUMNS if name in (rows.fieldnames or ())), None)
            if column is None:
                raise UnreadableMediaError(f"the manifest {path.name} has no column `path` or `file`: add one")
            yield from [path.parent / row[column] for row in rows if row[column]]
    except (csv.Error, UnicodeDecodeError) as error:
        raise UnreadableMediaError(f"the manifest {path.name} is no CSV text in UTF-8: {error}") from error


def _text_manifest(path: Path) -> Iterator[Path]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UnreadableMediaError(f"the list {path.name} is no text in UTF-8: {error}") from error
    yield from [path.parent / line.strip() for line in lines if line.strip()]
