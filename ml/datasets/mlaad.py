"""Recipe: MLAAD (synthetic speech in dozens of languages) with M-AILABS, whose texts it speaks, as bona fide.

    fake/<language>/<model>/meta.csv        path|original_file|language|is_original_language|duration|
    fake/<language>/<model>/*.wav               training_data|model_name|architecture|transcript
    en_US/by_book/female/judy_bieber/<book>/wavs/*.wav          M-AILABS, one archive a language

MLAAD version 5 comes as one zip in eleven volumes, with the checksums of all of them beside it. Python can't join
volumes: `download` fetches and checks them, and then says how to unpack. Newer versions are given out by
https://huggingface.co/datasets/mueller91/MLAAD to those who accept its terms; put their `fake/` there.

Bona fide is what `original_file` names in the languages of M-AILABS that are there, so each text is heard from a
human and from machines. No splits are published: every clip is `train`.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ml.datasets.download import Archive, DownloadOptions, download_archives
from ml.datasets.entries import Entry, OnCorrupt, complete
from ml.datasets.errors import ArchiveError, LayoutError
from ml.datasets.manifest import HUMAN, UNKNOWN, Kind
from ml.datasets.recipe import Recipe

NAME = "mlaad"
SHARE = "https://owncloud.fraunhofer.de/index.php/s/tL2Y1FKrWiX4ZtP/download?path=%2Fv5&files="
VOLUMES = (*(f"mlaad_v5.z{number:02d}" for number in range(1, 11)), "mlaad_v5.zip")
CHECKSUM_LIST = Archive("mlaad_v5.zip.md5", f"{SHARE}mlaad_v5.zip.md5", "mlaad", unpacked=False)

LOCALES = ("de_DE", "en_UK", "en_US", "es_ES", "it_IT", "uk_UK", "ru_RU", "fr_FR", "pl_PL")
MAILABS = tuple(
    Archive(f"{locale}.tgz", f"https://ics.tau-ceti.space/data/Training/stt_tts/{locale}.tgz", locale)
    for locale in LOCALES
)
PARTS = ("mlaad", *LOCALES)
COLUMNS = ("path", "original_file", "language", "training_data", "model_name", "architecture")


def download(root: Path, options: DownloadOptions) -> None:
    """As every recipe. Raises ArchiveError when all is there except that the volumes wait to be unpacked."""
    wanted = options.parts or PARTS
    volumes: tuple[Archive, ...] = ()
    whole = (CHECKSUM_LIST, *_volumes({}), *MAILABS)
    if "mlaad" in wanted:
        download_archives((CHECKSUM_LIST,), root, replace(options, parts=None), ("mlaad",), others=whole)
        volumes = _volumes(_checksums(root / "archives" / CHECKSUM_LIST.filename))
    download_archives((*volumes, *MAILABS), root, replace(options, parts=wanted), PARTS, others=whole)
    if volumes and not (root / "fake").is_dir():
        raise ArchiveError(
            f"all volumes of MLAAD are in {root / 'archives'} and checked, but Python can't join them. Unpack "
            f"them with 7-Zip: `7z x {root / 'archives' / 'mlaad_v5.zip'} -o{root}`, so that fake/ is in {root}; "
            "then run `prepare`"
        )


def prepare(root: Path, out: Path, *, on_corrupt: OnCorrupt = OnCorrupt.FAIL, progress: bool = False) -> Path:
    return complete(_entries(root), out, on_corrupt, progress=progress)


def _volumes(published: Mapping[str, str]) -> tuple[Archive, ...]:
    return tuple(Archive(name, f"{SHARE}{name}", "mlaad", published.get(name), unpacked=False) for name in VOLUMES)


def _checksums(listing: Path) -> dict[str, str]:
    """By file name, from the output of md5sum. Raises ArchiveError for anything else."""
    checksums = {}
    for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.partition(" ")
        if len(digest) != 32 or not name.strip():
            raise ArchiveError(f"{listing} is no list of checksums; delete it and download it again")
        checksums[PurePosixPath(name.strip().lstrip("*")).name] = f"md5:{digest}"
    return checksums


def _entries(root: Path) -> Iterator[Entry]:
    listings = sorted((root / "fake").glob("*/*/meta.csv"))
    if not listings:
        raise LayoutError(f"{root / 'fake'} has no <language>/<model>/meta.csv: unpack MLAAD into {root}")
    originals: set[str] = set()
    for listing in listings:
        with listing.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="|", quoting=csv.QUOTE_NONE)
            if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
                raise LayoutError(f"{listing}:1: missing columns {', '.join(missing)}")
            for row in reader:
                originals.add(row["original_file"])
                yield Entry(
                    path=listing.parent / PurePosixPath(row["path"]).name,
                    system=f"{NAME}-{row['model_name'] or listing.parent.name}",
                    kind=Kind.TTS,
                    lineage=(row["architecture"] or UNKNOWN).lower(),
                    speaker=UNKNOWN,
                    source_set=(row["training_data"] or UNKNOWN).lower(),
                    language=row["language"] or listing.parent.parent.name,
                    split="train",
                    corpus=NAME,
                )
    here = {locale for locale in LOCALES if (root / locale).is_dir()}
    for name in sorted(originals):
        original = PurePosixPath(name)
        if original.parts and original.parts[0] in here:
            yield Entry(
                path=root / original,
                system=HUMAN,
                kind=Kind.HUMAN,
                lineage=HUMAN,
                speaker=_reader(original),
                source_set="m-ailabs",
                language=original.parts[0][:2],
                split="train",
                corpus=NAME,
            )


def _reader(original: PurePosixPath) -> str:
    """`<locale>/by_book/<gender>/<reader>/<book>/wavs/<file>`; books read by several have no reader's folder."""
    parts = original.parts
    return f"mailabs-{parts[3]}" if len(parts) == 7 and parts[2] in {"female", "male"} else UNKNOWN


RECIPE = Recipe(
    name=NAME,
    title="MLAAD version 5 with M-AILABS",
    homepage="https://deepfake-total.com/mlaad",
    licence="CC BY-NC 4.0; M-AILABS: see its LICENSE",
    prepare=prepare,
    download=download,
    parts=PARTS,
    default_parts=PARTS,
)
