"""The import folder: what an operator lays out for batches to take in, and nothing else of the machine.

    place(import_dir, "calls/2026-11")            # its real path; ImportPathError where it leads outside
    for path in listed(import_dir, "calls"): ...  # recordings below it, as paths relative to the folder

A name is followed to where it really leads, links included, before it is believed to lie inside; each recording is
asked again when its turn comes.
"""

from collections.abc import Iterator
from pathlib import Path

from app.errors import ImportPathError, ImportsOffError
from earwitness.sources import each_recording

TURNED_OFF = "batches of files need an import folder: set EARWITNESS_IMPORT_DIR, or upload the recordings"


def place(import_dir: Path | None, name: str) -> Path:
    """Raises ImportsOffError, ImportPathError."""
    if import_dir is None:
        raise ImportsOffError(TURNED_OFF)
    root = import_dir.resolve()
    try:
        found = (root / name).resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:  # missing, a zero byte, links in a circle
        raise ImportPathError(f"{name!r} is not in the import folder: check the path") from error
    if not found.is_relative_to(root):
        raise ImportPathError(f"{name!r} leads out of the import folder: name what lies in it")
    return found


def recording(import_dir: Path | None, name: str) -> Path:
    """As `place`, of a regular file: nothing else is opened."""
    found = place(import_dir, name)
    if not found.is_file():
        raise ImportPathError(f"{name!r} is no regular file")
    return found


def listed(import_dir: Path | None, name: str) -> Iterator[str]:
    """What stands below a folder or in a list; a list may name what is missing or lies outside: that shows later.

    Raises what `place` raises, and UnreadableMediaError for a list that is none.
    """
    found = place(import_dir, name)
    assert import_dir is not None
    root = import_dir.resolve()
    for path in each_recording([found]):
        yield str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
