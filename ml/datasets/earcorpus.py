"""Recipe: the speech corpus of demo pages that this project is developed on (`../shared/corpus`).

Folders `train/` and `dev/`, each with `manifest.csv` and `audio/`; the columns are in the corpus's README.
It has no public address, so there is no `download`. The rates in its manifest are those of the originals: every
stored file is 16 kHz mono.

    prepare(Path("../shared/corpus"), Path("data/earcorpus.csv"))
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from ml.datasets.errors import LayoutError
from ml.datasets.manifest import Clip, Kind, Label, write_manifest

NAME = "earcorpus"
TITLE = "Published demo speech, human and synthetic (given as a folder)"
SPLITS = ("train", "dev")
STORED_RATE_HZ = 16_000

# The manifest names the container; a manifest of ours names the codec, as FFmpeg does.
CODECS = {"flac": "flac", "opus": "opus", "mp3": "mp3", "m4a": "aac"}


def prepare(root: Path, out: Path) -> Path:
    """Write the manifest of both splits to `out`. Raises LayoutError where the corpus isn't as described."""
    return write_manifest(out, [clip for split in SPLITS for clip in _clips(root.resolve() / split, split)])


def _clips(folder: Path, split: str) -> Iterator[Clip]:
    listing = folder / "manifest.csv"
    try:
        file = listing.open(encoding="utf-8", newline="")
    except FileNotFoundError as e:
        raise LayoutError(f"{listing} is missing; give the folder that holds {' and '.join(SPLITS)}") from e
    with file:
        reader = csv.DictReader(file)
        for row in reader:
            try:
                yield Clip(
                    path=folder / row["file"],
                    label=Label(row["label"]),
                    kind=Kind(row["kind"]),
                    system=row["system"],
                    lineage=row["lineage"],
                    speaker=row["speaker"],
                    source_set=row["source_set"],
                    source_repo=row["source_repo"],
                    language=row["lang"],
                    duration_s=float(row["seconds"]),
                    sample_rate_hz=STORED_RATE_HZ,
                    codec=CODECS[row["stored"]],
                    split=split,
                    corpus=NAME,
                    source_rate_hz=int(row["source_rate_hz"]) if row["source_rate_hz"] else None,
                )
            except (KeyError, ValueError) as e:
                raise LayoutError(f"{listing}:{reader.line_num}: unexpected column or value: {e}") from e
