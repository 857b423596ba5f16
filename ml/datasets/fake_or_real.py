"""Recipe: Fake-or-Real (FoR): 195,000 clips of read and commercial synthetic speech, in four versions.

    for-norm/{training,validation,testing}/{real,fake}/*.wav      balanced, 16 kHz, mono, levelled: the usual one
    for-2sec/...      the same, cut to 2 s               unpacked as for-2seconds/
    for-rerec/...     for-2sec played and recorded       unpacked as for-rerecorded/
    for-original/...  as collected

Mirrors have them one folder deeper: for-norm/for-norm/, for-2sec/for-2seconds/, for-rerec/for-rerecorded/.

Each version is a part; the default is `norm`. The folders don't tell system, speaker or source, so leaks of those
can't be seen. The makers publish no checksum.
"""

from collections.abc import Iterator
from pathlib import Path

from ml.datasets.download import Archive, DownloadOptions, download_archives
from ml.datasets.entries import Entry, OnCorrupt, complete
from ml.datasets.errors import LayoutError
from ml.datasets.manifest import HUMAN, UNKNOWN, Kind
from ml.datasets.recipe import Recipe

NAME = "fake-or-real"
SITE = "https://bil.eecs.yorku.ca/share"
ARCHIVES = (
    Archive("for-norm.tar.gz", f"{SITE}/for-norm.tar.gz", "norm"),
    Archive("for-2sec.tar.gz", f"{SITE}/for-2sec.tar.gz", "2sec"),
    Archive("for-rerec.tar.gz", f"{SITE}/for-rerec.tar.gz", "rerec"),
    Archive("for-original.tar.gz", f"{SITE}/for-original.tar.gz", "original"),
)
PARTS = ("norm", "2sec", "rerec", "original")
FOLDERS = ("for-norm", "for-2sec", "for-2seconds", "for-rerec", "for-rerecorded", "for-original")
SPLITS = {"training": "train", "validation": "dev", "testing": "eval"}
CLASSES = {"real": (HUMAN, Kind.HUMAN), "fake": (UNKNOWN, Kind.TTS)}
SUFFIXES = frozenset({".wav", ".mp3", ".flac"})


def download(root: Path, options: DownloadOptions) -> None:
    download_archives(ARCHIVES, root, options, ("norm",))


def prepare(root: Path, out: Path, *, on_corrupt: OnCorrupt = OnCorrupt.FAIL, progress: bool = False) -> Path:
    return complete(_entries(root), out, on_corrupt, progress=progress)


def _entries(root: Path) -> Iterator[Entry]:
    versions = [_with_splits(root / name) for name in FOLDERS if (root / name).is_dir()]
    if not versions:
        raise LayoutError(f"{root} has none of {', '.join(FOLDERS)} with {', '.join(SPLITS)} inside")
    for version in versions:
        for folder, split in SPLITS.items():
            for name, (system, kind) in CLASSES.items():
                for path in sorted((version / folder / name).glob("*")):
                    if path.suffix.lower() in SUFFIXES:
                        yield Entry(
                            path=path,
                            system=system,
                            kind=kind,
                            lineage=system,
                            speaker=UNKNOWN,
                            source_set=UNKNOWN,
                            language="en",
                            split=split,
                            corpus=NAME,
                        )


def _with_splits(folder: Path) -> Path:
    """`folder`, or one of a version's names in it, whichever holds the splits: mirrors nest them, as in
    `for-2sec/for-2seconds`. Raises LayoutError where none does: a version would be missing, and nobody told."""
    for path in (folder, *(folder / name for name in FOLDERS)):
        if all((path / split).is_dir() for split in SPLITS):
            return path
    raise LayoutError(
        f"{folder} has no {', '.join(SPLITS)} inside: unpack the version anew, or move it away to leave it out"
    )


RECIPE = Recipe(
    name=NAME,
    title="Fake-or-Real",
    homepage="https://bil.eecs.yorku.ca/datasets/",
    licence="see the homepage; research use",
    prepare=prepare,
    download=download,
    parts=PARTS,
    default_parts=("norm",),
)
