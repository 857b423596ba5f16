"""Recipes: ASVspoof 2021, logical access (LA: telephone lines) and deepfake (DF: lossy codecs). Evaluation only.

    ASVspoof2021_LA_eval/flac/LA_E_*.flac        keys/LA/CM/trial_metadata.txt
    ASVspoof2021_DF_eval/flac/DF_E_*.flac        keys/DF/CM/trial_metadata.txt

Sound and keys come in separate packages. A line of the keys is, for LA and for DF,

    LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval
    LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -

speaker, file, codec, line or source, attack, key, trimming, subset. The subsets (`progress`, `eval`, `hidden`)
become the splits; published figures are those of `eval`. They share speakers and attacks by design.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ml.datasets.download import Archive, DownloadOptions, download_archives
from ml.datasets.entries import Entry, OnCorrupt, complete
from ml.datasets.errors import LayoutError
from ml.datasets.manifest import UNKNOWN, Kind
from ml.datasets.protocols import BONA_FIDE, attack_2019, is_spoof, rows
from ml.datasets.recipe import Leak, Recipe

PARTS = ("audio", "keys")
SUBSETS = ("progress", "eval", "hidden")
SOURCES_DF = {"asvspoof": "vctk", "vcc2018": "vcc2018", "vcc2020": "vcc2020"}

ARCHIVES_LA = (
    Archive(
        "ASVspoof2021_LA_eval.tar.gz",
        "https://zenodo.org/records/4837263/files/ASVspoof2021_LA_eval.tar.gz",
        "audio",
        "md5:2abee34d8b0b91159555fc4f016e4562",
    ),
    Archive(
        "LA-keys-full.tar.gz",
        "https://www.asvspoof.org/asvspoof2021/LA-keys-full.tar.gz",
        "keys",
        "md5:f052cc2ed276745afa3b5198665d3b26",  # since April 2023, when a superfluous list was taken out
    ),
)

ZENODO_DF = "https://zenodo.org/records/4835108/files"
ARCHIVES_DF = (
    *(
        Archive(name, f"{ZENODO_DF}/{name}", "audio", checksum)
        for name, checksum in (
            ("ASVspoof2021_DF_eval_part00.tar.gz", "md5:4f2cbae07cf3ede2a1dde3b8d2ee55ea"),
            ("ASVspoof2021_DF_eval_part01.tar.gz", "md5:1578c89ab433c2b60b1dce93bdf8fbec"),
            ("ASVspoof2021_DF_eval_part02.tar.gz", "md5:5497a35f0126e94a1d7a7d26db57b4f7"),
            ("ASVspoof2021_DF_eval_part03.tar.gz", None),  # two versions of its MD5 are about: neither is used
        )
    ),
    Archive(
        "DF-keys-full.tar.gz",
        "https://www.asvspoof.org/asvspoof2021/DF-keys-full.tar.gz",
        "keys",
        "md5:dabbc5628de4fcef53036c99ac7ab93a",
    ),
)


def download_la(root: Path, options: DownloadOptions) -> None:
    download_archives(ARCHIVES_LA, root, options, PARTS)


def download_df(root: Path, options: DownloadOptions) -> None:
    download_archives(ARCHIVES_DF, root, options, PARTS)


def prepare(
    track: str, root: Path, out: Path, *, on_corrupt: OnCorrupt = OnCorrupt.FAIL, progress: bool = False
) -> Path:
    """`track` is LA or DF."""
    return complete(_entries(track, root), out, on_corrupt, progress=progress)


def _entries(track: str, root: Path) -> Iterator[Entry]:
    listing = root / "keys" / track / "CM" / "trial_metadata.txt"
    for number, (speaker, file, _, origin, attack, key, _, subset, *_) in rows(listing, 8):
        if subset not in SUBSETS:
            raise LayoutError(f"{listing}:{number}: unknown subset {subset!r}; known are {', '.join(SUBSETS)}")
        source = _source(track, origin, listing, number)
        spoof = is_spoof(key, listing, number)
        system, lineage, kind = _attack(attack, source, listing, number) if spoof else BONA_FIDE
        yield Entry(
            path=root / f"ASVspoof2021_{track}_eval" / "flac" / f"{file}.flac",
            system=system,
            kind=kind,
            lineage=lineage,
            speaker=f"asvspoof-{speaker}" if source == "vctk" else f"{source}-{speaker}",
            source_set=source,
            # Half of VCC 2020 goes from English to Finnish, German or Mandarin voices; the keys don't tell.
            language=UNKNOWN if source == "vcc2020" else "en",
            split=subset,
            corpus=f"asvspoof2021-{track.lower()}",
        )


def _source(track: str, origin: str, listing: Path, number: int) -> str:
    """The human speech behind a trial. Only DF names it; the fourth field of LA is the telephone line."""
    if track == "LA":
        return "vctk"
    if origin not in SOURCES_DF:
        raise LayoutError(f"{listing}:{number}: unknown source {origin!r}; known are {', '.join(SOURCES_DF)}")
    return SOURCES_DF[origin]


def _attack(attack: str, source: str, listing: Path, number: int) -> tuple[str, str, Kind]:
    if source == "vctk":
        return attack_2019(attack, listing, number)
    return f"{source}-{attack}", f"{source}-{attack}", Kind.VC  # the voice conversion challenges


RECIPE_LA = Recipe(
    name="asvspoof2021-la",
    title="ASVspoof 2021 logical access (evaluation)",
    homepage="https://zenodo.org/records/4837263",
    licence="ODC-By 1.0",
    prepare=partial(prepare, "LA"),
    download=download_la,
    parts=PARTS,
    default_parts=PARTS,
    known_leaks=frozenset({Leak.SPEAKER, Leak.SYSTEM, Leak.LINEAGE}),
)

RECIPE_DF = Recipe(
    name="asvspoof2021-df",
    title="ASVspoof 2021 deepfake (evaluation)",
    homepage="https://zenodo.org/records/4835108",
    licence="ODC-By 1.0",
    prepare=partial(prepare, "DF"),
    download=download_df,
    parts=PARTS,
    default_parts=PARTS,
    known_leaks=frozenset({Leak.SPEAKER, Leak.SYSTEM, Leak.LINEAGE}),
)
