"""Recipe: ASVspoof 2019, logical access: 121,461 clips of VCTK speakers, 19 attacks, FLAC at 16 kHz.

    LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.{train.trn,dev.trl,eval.trl}.txt
    LA/ASVspoof2019_LA_{train,dev,eval}/flac/LA_[TDE]_*.flac

A protocol line is `speaker file - attack key`: `LA_0079 LA_T_1138215 - - bonafide`. Training and development
share their attacks (A01-A06) by design; speakers are disjoint. No published checksum is known.
"""

from collections.abc import Iterator
from pathlib import Path

from ml.datasets.download import Archive, DownloadOptions, download_archives
from ml.datasets.entries import Entry, OnCorrupt, complete
from ml.datasets.protocols import BONA_FIDE, attack_2019, is_spoof, rows
from ml.datasets.recipe import Leak, Recipe

NAME = "asvspoof2019-la"
ARCHIVES = (Archive("LA.zip", "https://datashare.ed.ac.uk/bitstream/handle/10283/3336/LA.zip", "la"),)
PARTS = ("la",)
PROTOCOLS = {"train": "train.trn", "dev": "dev.trl", "eval": "eval.trl"}


def download(root: Path, options: DownloadOptions) -> None:
    download_archives(ARCHIVES, root, options, PARTS)


def prepare(root: Path, out: Path, *, on_corrupt: OnCorrupt = OnCorrupt.FAIL, progress: bool = False) -> Path:
    return complete(_entries(root / "LA"), out, on_corrupt, progress=progress)


def _entries(folder: Path) -> Iterator[Entry]:
    for split, protocol in PROTOCOLS.items():
        listing = folder / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{protocol}.txt"
        for number, (speaker, file, _, attack, key, *_) in rows(listing, 5):
            spoof = is_spoof(key, listing, number)
            system, lineage, kind = attack_2019(attack, listing, number) if spoof else BONA_FIDE
            yield Entry(
                path=folder / f"ASVspoof2019_LA_{split}" / "flac" / f"{file}.flac",
                system=system,
                kind=kind,
                lineage=lineage,
                speaker=f"asvspoof-{speaker}",
                source_set="vctk",
                language="en",
                split=split,
                corpus=NAME,
            )


RECIPE = Recipe(
    name=NAME,
    title="ASVspoof 2019 logical access",
    homepage="https://datashare.ed.ac.uk/handle/10283/3336",
    licence="ODC-By 1.0",
    prepare=prepare,
    download=download,
    parts=PARTS,
    default_parts=PARTS,
    # A01 to A06 are in train and dev; A16 and A19 in eval are A04 and A06 again.
    known_leaks=frozenset({Leak.SYSTEM, Leak.LINEAGE}),
)
