"""Recipe: the speech corpus of demo pages that this project is developed on (`../shared/corpus`).

Folders `train/` and `dev/`, each with `manifest.csv` and `audio/`; the columns are in the corpus's README.
It has no public address, so there is no `download`. The rates in its manifest are those of the originals: every
stored file is 16 kHz mono.

    prepare(Path("../shared/corpus"), Path("data/earcorpus.csv"))
"""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from ml.datasets.entries import Entry, Facts, OnCorrupt, complete
from ml.datasets.errors import LayoutError
from ml.datasets.manifest import HUMAN, Kind, Label
from ml.datasets.recipe import Leak, Recipe

NAME = "earcorpus"
SPLITS = ("train", "dev")
STORED_RATE_HZ = 16_000

# The manifest names the container; a manifest of ours names the codec, as FFmpeg does.
CODECS = {"flac": "flac", "opus": "opus", "mp3": "mp3", "m4a": "aac"}


def prepare(root: Path, out: Path, *, on_corrupt: OnCorrupt = OnCorrupt.FAIL, progress: bool = False) -> Path:
    """Write the manifest of both splits to `out`. Raises LayoutError where the corpus isn't as described."""
    entries = (entry for split in SPLITS for entry in _entries(root.resolve() / split, split))
    return complete(entries, out, on_corrupt, progress=progress)


def _entries(folder: Path, split: str) -> Iterator[Entry]:
    listing = folder / "manifest.csv"
    try:
        file = listing.open(encoding="utf-8-sig", newline="")
    except FileNotFoundError as e:
        raise LayoutError(f"{listing} is missing; give the folder that holds {' and '.join(SPLITS)}") from e
    with file:
        reader = csv.DictReader(file)
        for row in reader:
            try:
                yield _entry(folder, split, row)
            except (KeyError, ValueError) as e:
                raise LayoutError(f"{listing}:{reader.line_num}: unexpected column or value: {e}") from e


def _entry(folder: Path, split: str, row: Mapping[str, str]) -> Entry:
    if (Label(row["label"]) is Label.BONAFIDE) != (row["system"] == HUMAN):
        raise ValueError(f"label {row['label']} contradicts system {row['system']}")
    return Entry(
        path=folder / row["file"],
        system=row["system"],
        kind=Kind(row["kind"]),
        lineage=row["lineage"],
        speaker=row["speaker"],
        source_set=row["source_set"],
        source_repo=row["source_repo"],
        language=row["lang"],
        split=split,
        corpus=NAME,
        source_rate_hz=int(row["source_rate_hz"]) if row["source_rate_hz"] else None,
        facts=Facts(float(row["seconds"]), STORED_RATE_HZ, CODECS[row["stored"]]),
    )


RECIPE = Recipe(
    name=NAME,
    title="Published demo speech, human and synthetic",
    homepage="given as a folder; see its README",
    licence="each clip belongs to its source; research use",
    prepare=prepare,
    # The famous voices and about 40 % of the lineages are on both sides; source repositories are not.
    known_leaks=frozenset({Leak.SPEAKER, Leak.SYSTEM, Leak.LINEAGE}),
)
