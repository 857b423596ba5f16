"""Recipe: In-the-Wild: 31,779 clips of 58 celebrities and politicians, found on the net. Evaluation only.

    release_in_the_wild/meta.csv           file,speaker,label      4.wav,Christopher Hitchens,bona-fide
    release_in_the_wild/*.wav

Nothing is known of the systems, and every clip is `eval`. The makers publish no checksum.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from ml.datasets.download import Archive, DownloadOptions, download_archives
from ml.datasets.entries import Entry, OnCorrupt, complete
from ml.datasets.errors import LayoutError
from ml.datasets.manifest import HUMAN, UNKNOWN, Kind
from ml.datasets.recipe import Recipe

NAME = "in-the-wild"
ARCHIVES = (
    Archive(
        "release_in_the_wild.zip",
        "https://huggingface.co/datasets/mueller91/In-The-Wild/resolve/main/release_in_the_wild.zip",
        "audio",
    ),
)
PARTS = ("audio",)
COLUMNS = ("file", "speaker", "label")
MADE_BY = {"bona-fide": (HUMAN, Kind.HUMAN), "spoof": (UNKNOWN, Kind.UNKNOWN)}


def download(root: Path, options: DownloadOptions) -> None:
    download_archives(ARCHIVES, root, options, PARTS)


def prepare(root: Path, out: Path, *, on_corrupt: OnCorrupt = OnCorrupt.FAIL, progress: bool = False) -> Path:
    return complete(_entries(root / "release_in_the_wild"), out, on_corrupt, progress=progress)


def _entries(folder: Path) -> Iterator[Entry]:
    listing = folder / "meta.csv"
    try:
        file = listing.open(encoding="utf-8", newline="")
    except FileNotFoundError as e:
        raise LayoutError(f"{listing} is missing: unpack release_in_the_wild.zip into {folder.parent}") from e
    with file:
        reader = csv.DictReader(file)
        if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
            raise LayoutError(f"{listing}:1: missing columns {', '.join(missing)}")
        for row in reader:
            if row["label"] not in MADE_BY:
                raise LayoutError(
                    f"{listing}:{reader.line_num}: the label is {row['label']!r} "
                    f"where {' or '.join(MADE_BY)} was expected"
                )
            system, kind = MADE_BY[row["label"]]
            yield Entry(
                path=folder / row["file"],
                system=system,
                kind=kind,
                lineage=system,
                speaker=f"{NAME}-{re.sub(r'[^a-z0-9]+', '-', row['speaker'].lower()).strip('-')}",
                source_set=NAME,
                language="en",
                split="eval",
                corpus=NAME,
            )


RECIPE = Recipe(
    name=NAME,
    title="In-the-Wild",
    homepage="https://deepfake-total.com/in_the_wild",
    licence="CC BY-SA 4.0",
    prepare=prepare,
    download=download,
    parts=PARTS,
    default_parts=PARTS,
)
