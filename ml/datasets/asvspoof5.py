"""Recipe: ASVspoof 5, track 1: a million clips of 2,000 speakers of MLS (English), 32 attacks, FLAC at 16 kHz.

    ASVspoof5.{train,dev.track_1,eval.track_1}.tsv          or the same in ASVspoof5_protocols/
    flac_T/T_*.flac    flac_D/D_*.flac    flac_E_eval/E_*.flac

The `.tsv` are blank-separated, without a header:

    speaker file gender codec codec_q codec_seed attack_tag attack key -
    D_4461 D_0000000169 F - - - AC1 A14 spoof -

Each split is a part (about 100 GB together); `prepare` takes the splits whose audio folder is there. Speakers and
attacks are disjoint between the splits. The checksums are those of the corpus's own README.
"""

from collections.abc import Iterator
from pathlib import Path

from ml.datasets.download import Archive, DownloadOptions, download_archives
from ml.datasets.entries import Entry, OnCorrupt, complete
from ml.datasets.errors import LayoutError
from ml.datasets.manifest import Kind
from ml.datasets.protocols import BONA_FIDE, is_spoof, rows
from ml.datasets.recipe import Recipe

NAME = "asvspoof5"
ZENODO = "https://zenodo.org/records/14498691/files"
CHECKSUMS = {
    "protocols": {"ASVspoof5_protocols.tar.gz": "865d0e894ea9f686f0f37e5ae3ae3616"},
    "train": {
        "flac_T_aa.tar": "b0cc86b14826a7701b52aad4f53daf9c",
        "flac_T_ab.tar": "d05be3f4be7a343fdbdd0ed29fdff2e1",
        "flac_T_ac.tar": "70d1ba4ad75a20aef3dae541fbd321e3",
        "flac_T_ad.tar": "c9bb56af2cc410d98338d74babcb95c9",
        "flac_T_ae.tar": "a3969816982f3e52300d6147ad796df7",
    },
    "dev": {
        "flac_D_aa.tar": "df0be44957623991028cce59792beb17",
        "flac_D_ab.tar": "1e8cd685d89b64502692f1bcf1a13db3",
        "flac_D_ac.tar": "5e0031f08c30e4bdbf0c59f91b2d662b",
    },
    "eval": {
        "flac_E_aa.tar": "a8c800766f3d4ef87971e2b4f29663e2",
        "flac_E_ab.tar": "c35064188f54f07c87aba58de22534a0",
        "flac_E_ac.tar": "ed7cbcd1b2847998b72472ddf6b445e3",
        "flac_E_ad.tar": "626a080e994b05df49c577d7b3dede8d",
        "flac_E_ae.tar": "05f19a5e64fa556714ae1b38eb2ea70b",
        "flac_E_af.tar": "2ca2f52a3bbf827f7ec155ecb47e85d6",
        "flac_E_ag.tar": "671200b5de2fc1e74a563b07b057af8f",
        "flac_E_ah.tar": "eaf885b1299a61eb07f71e82e96dba37",
        "flac_E_ai.tar": "b2625683bf440abae2af901a45542ad9",
        "flac_E_aj.tar": "c50281c8233af6f3b0899604d21ade44",
    },
}
ARCHIVES = tuple(
    Archive(name, f"{ZENODO}/{name}", part, f"md5:{md5}")
    for part, archives in CHECKSUMS.items()
    for name, md5 in archives.items()
)
PARTS = tuple(CHECKSUMS)

SPLITS = {
    "train": ("ASVspoof5.train.tsv", "flac_T"),
    "dev": ("ASVspoof5.dev.track_1.tsv", "flac_D"),
    "eval": ("ASVspoof5.eval.track_1.tsv", "flac_E_eval"),
}

# The protocols don't tell how an attack was made. Those that the database paper (arXiv 2502.08857) leaves in no
# doubt are named here; the others, adversarially altered ones among them, stay `unknown`.
KINDS = {
    **dict.fromkeys(("A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08"), Kind.TTS),
    **dict.fromkeys(("A17", "A19", "A21", "A22", "A28", "A29"), Kind.TTS),
    **dict.fromkeys(("A24", "A25", "A26"), Kind.VC),
}


def download(root: Path, options: DownloadOptions) -> None:
    download_archives(ARCHIVES, root, options, PARTS)


def prepare(root: Path, out: Path, *, on_corrupt: OnCorrupt = OnCorrupt.FAIL, progress: bool = False) -> Path:
    return complete(_entries(root), out, on_corrupt, progress=progress)


def _entries(root: Path) -> Iterator[Entry]:
    present = {split: names for split, names in SPLITS.items() if (root / names[1]).is_dir()}
    if not present:
        folders = ", ".join(folder for _, folder in SPLITS.values())
        raise LayoutError(f"{root} has none of the folders {folders}: download at least one split there")
    for split, (protocol, folder) in present.items():
        listing = _protocol(root, protocol)
        for number, (speaker, file, _, _, _, _, _, attack, key, *_) in rows(listing, 9):
            spoof = is_spoof(key, listing, number)
            name = f"{NAME}-{attack}"
            system, lineage, kind = (name, name, KINDS.get(attack, Kind.UNKNOWN)) if spoof else BONA_FIDE
            yield Entry(
                path=root / folder / f"{file}.flac",
                system=system,
                kind=kind,
                lineage=lineage,
                speaker=f"{NAME}-{speaker}",
                source_set="mls",
                language="en",
                split=split,
                corpus=NAME,
            )


def _protocol(root: Path, name: str) -> Path:
    inside = root / "ASVspoof5_protocols" / name
    return inside if inside.is_file() else root / name


RECIPE = Recipe(
    name=NAME,
    title="ASVspoof 5, track 1",
    homepage="https://zenodo.org/records/14498691",
    licence="ODC-By 1.0; bona fide speech CC BY 4.0",
    prepare=prepare,
    download=download,
    parts=PARTS,
    default_parts=PARTS,
)
