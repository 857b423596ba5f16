"""The import folder: what an operator lays out for batches to take in, and nothing else of the machine.

    place(import_dir, "calls/2026-11")            # its real path; ImportPathError where it leads outside
    for path in listed(import_dir, "calls"): ...  # recordings below it, as paths relative to the folder

A name is followed to where it really leads, links included, before it is believed to lie inside; each recording is
asked again when its turn comes. Names of files are bytes: one that is no text can be told of (`shown`), and nothing
more.
"""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from app.errors import ImportPathError, ImportsOffError
from earwitness.path_set import ENCODING_ERRORS
from earwitness.sources import each_recording

TURNED_OFF = "batches of files need an import folder: set EARWITNESS_IMPORT_DIR, or upload the recordings"
NOT_INSIDE = "{!r} is not in the import folder, or leads out of it: name what lies in it"
"""One message for both, so that nobody learns from it what else is on the machine."""
NO_TEXT = "the file's name is no text in UTF-8, or holds a zero byte: rename it"


def place(import_dir: Path | None, name: str) -> Path:
    """Raises ImportsOffError, ImportPathError."""
    if import_dir is None:
        raise ImportsOffError(TURNED_OFF)
    root = import_dir.resolve()
    try:
        found = (root / name).resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:  # missing, a zero byte, links in a circle
        raise ImportPathError(NOT_INSIDE.format(name)) from error
    if not found.is_relative_to(root):
        raise ImportPathError(NOT_INSIDE.format(name))
    return found


def recording(import_dir: Path | None, name: str) -> Path:
    """As `place`, of a regular file: nothing else is opened."""
    found = place(import_dir, name)
    try:
        is_file = found.is_file()
    except OSError as error:
        raise ImportPathError(f"{name!r} can't be read: {error.strerror}") from error
    if not is_file:
        raise ImportPathError(f"{name!r} is no regular file")
    return found


def listed(import_dir: Path | None, name: str) -> Iterator[str]:
    """What stands below a folder or in a list; a list may name what is missing or lies outside: that shows later.

    A name is as it is on the disk: whether it is text, `shown` tells. Raises what `place` raises, UnreadableMediaError
    for a list that is none, OSError where the list or a folder can't be read.
    """
    found = place(import_dir, name)
    assert import_dir is not None
    root = import_dir.resolve()
    for path in each_recording([found]):
        yield str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def opened(path: Path) -> BinaryIO:
    """What `recording` found, if it is a regular file still: a pipe in its place would be waited for, a link followed.

    Raises OSError.
    """
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file any more", os.fspath(path))
    return file


def shown(name: str) -> str:
    """`name` as it can be stored and sent, what is no text written out (`caf\\xe9.wav`); itself where it is text."""
    return name.encode("utf-8", ENCODING_ERRORS).decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def unreadable(import_dir: Path | None, error: OSError) -> ImportPathError:
    """What to tell who made the batch: nothing of where the import folder lies."""
    assert import_dir is not None
    root, path = import_dir.resolve(), Path(os.fsdecode(error.filename or ""))
    name = shown(str(path.relative_to(root))) if path.is_relative_to(root) else "."
    return ImportPathError(f"{name!r} can't be read: {error.strerror}")
