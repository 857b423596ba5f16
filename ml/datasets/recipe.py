"""What every corpus offers: a description, a download and a way to its manifest.

One file a corpus makes one `Recipe`; `ml.datasets.recipes.RECIPES` lists them all.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from ml.datasets.download import DownloadOptions
from ml.datasets.entries import OnCorrupt


class Leak(StrEnum):
    """What two splits may share, to the harm of any figure measured across them. Fields of a `Clip`."""

    SPEAKER = "speaker"
    SYSTEM = "system"
    LINEAGE = "lineage"
    SOURCE_REPO = "source_repo"


class Download(Protocol):
    def __call__(self, root: Path, options: DownloadOptions) -> None:
        """Fetch and unpack into `root`. Raises a `DatasetError`."""
        ...


class Prepare(Protocol):
    def __call__(
        self, root: Path, out: Path, *, on_corrupt: OnCorrupt = OnCorrupt.FAIL, progress: bool = False
    ) -> Path:
        """Write the manifest of the corpus in `root` to `out`, all or nothing. Raises a `DatasetError`."""
        ...


@dataclass(frozen=True, slots=True)
class Recipe:
    name: str
    title: str
    homepage: str
    licence: str
    prepare: Prepare
    download: Download | None = None
    """None: the corpus has no public address."""
    parts: tuple[str, ...] = ()
    default_parts: tuple[str, ...] = ()
    known_leaks: frozenset[Leak] = frozenset()
    """What the published splits share by design or as its makers say: `validate` warns and doesn't fail."""
