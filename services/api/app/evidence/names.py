"""A user's filename as a harmless label, and which of its endings are accepted.

    clean_filename("../../evil\\x00.wav")     # "evil.wav"

Nothing is ever stored under such a name; it is shown, searched and sent back, so it must not deceive or break.
"""

import unicodedata
from pathlib import PurePosixPath

from earwitness.sources import MEDIA_SUFFIXES

MAX_FILENAME_CHARACTERS = 255  # what common file systems allow, in bytes for ASCII
UNNAMED = "unnamed"

ACCEPTED_SUFFIXES = MEDIA_SUFFIXES
"""Lower case, with the dot: the same as on the command line."""


def clean_filename(name: str) -> str:
    """The last path part, without control, format and surrogate characters, bounded, its extension kept.

    Format characters go because U+202E and its kin make `gpj.exe` read `exe.jpg`.
    """
    visible = "".join(c for c in name if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
    last = visible.replace("\\", "/").split("/")[-1]
    label = unicodedata.normalize("NFC", last).strip().strip(".").strip()
    if not label:
        return UNNAMED
    if len(label) <= MAX_FILENAME_CHARACTERS:
        return label
    suffix = PurePosixPath(label).suffix[:16]
    return label[: MAX_FILENAME_CHARACTERS - len(suffix)] + suffix


def extension(label: str) -> str:
    """Lower case, without the dot; empty where there is none."""
    stem, dot, ending = label.rpartition(".")
    return ending.lower() if dot and stem else ""
