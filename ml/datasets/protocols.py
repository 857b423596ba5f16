"""Protocol files of the ASVspoof challenges, and what their attack numbers stand for."""

from collections.abc import Iterator
from pathlib import Path

from ml.datasets.errors import LayoutError
from ml.datasets.manifest import HUMAN, Kind, Label

# Wang et al. 2020, "ASVspoof 2019: a large-scale public database", table 1. A13 to A15 feed synthetic speech to a
# voice converter: the converter made the waveform. 2021 LA and DF use A07 to A19 again.
ATTACKS_2019 = {
    **dict.fromkeys(("A01", "A02", "A03", "A04"), Kind.TTS),
    **dict.fromkeys(("A05", "A06"), Kind.VC),
    **dict.fromkeys(("A07", "A08", "A09", "A10", "A11", "A12"), Kind.TTS),
    **dict.fromkeys(("A13", "A14", "A15"), Kind.VC),
    "A16": Kind.TTS,
    **dict.fromkeys(("A17", "A18", "A19"), Kind.VC),
}

# The same paper: the evaluation repeats two algorithms of the training set.
REPEATED_2019 = {"A16": "A04", "A19": "A06"}

LABELS = {"bonafide": Label.BONAFIDE, "spoof": Label.SPOOF}


def rows(listing: Path, columns: int) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and fields of a protocol: blank-separated, no header, at least `columns` fields a line.

    Raises LayoutError where the file is missing or a line is too short.
    """
    try:
        file = listing.open(encoding="utf-8")
    except FileNotFoundError as e:
        raise LayoutError(f"{listing} is missing: the corpus is not unpacked there, or not as published") from e
    with file:
        for number, line in enumerate(file, start=1):
            fields = line.split()
            if not fields:
                continue
            if len(fields) < columns:
                raise LayoutError(f"{listing}:{number}: {len(fields)} fields where {columns} were expected")
            yield number, fields


def is_spoof(key: str, listing: Path, number: int) -> bool:
    """Raises LayoutError for a key that is neither `bonafide` nor `spoof`."""
    if key not in LABELS:
        raise LayoutError(f"{listing}:{number}: the key is {key!r} where bonafide or spoof was expected")
    return LABELS[key] is Label.SPOOF


def attack_2019(attack: str, listing: Path, number: int) -> tuple[str, str, Kind]:
    """System, lineage and kind of an attack of ASVspoof 2019 LA. Raises LayoutError for an unknown one."""
    if attack not in ATTACKS_2019:
        raise LayoutError(f"{listing}:{number}: unknown attack {attack!r}; known are A01 to A19")
    lineage = REPEATED_2019.get(attack, attack)
    return f"asvspoof2019-{attack}", f"asvspoof2019-{lineage}", ATTACKS_2019[attack]


BONA_FIDE = (HUMAN, HUMAN, Kind.HUMAN)
"""System, lineage and kind of human speech."""
