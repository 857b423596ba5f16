"""Bring a corpus's archives onto the disk, checked and unpacked, and remember what was done.

    download_archives(ARCHIVES, Path("data/asvspoof2019-la"), DownloadOptions(parts=("la",)))

Under the corpus's folder: `archives/` with what was fetched, the unpacked tree as its publisher made it, and
`downloads.json`, one entry an archive: where it came from, its checksum, who vouches for that, and whether it is
unpacked. An archive that is unpacked is neither fetched nor unpacked again.

Who vouches (`trust`): `given` by the user, `published` by the corpus's makers, or `first use`: the makers publish
none, so the hash of the first download is kept and later ones must equal it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

import pooch

from ml.datasets.archives import unpack
from ml.datasets.errors import ArchiveError, DownloadError
from ml.datasets.fetch import RETRY_WAIT_S, fetch
from ml.evaluation.atomic_write import write_text

LOCK_NAME = "downloads.json"


@dataclass(frozen=True, slots=True)
class Archive:
    filename: str
    url: str
    part: str
    """The piece of the corpus that it belongs to: what `--parts` selects."""
    checksum: str | None = None
    """`md5:...` or `sha256:...` as published; None where nothing is published."""
    unpacked: bool = True
    """False for what is kept as it is."""


@dataclass(frozen=True, slots=True)
class DownloadOptions:
    base_url: str | None = None
    """A mirror that holds all files side by side, in place of their own addresses."""
    parts: tuple[str, ...] | None = None
    """None: what the recipe takes by default."""
    checksums: Mapping[str, str] = field(default_factory=dict)
    """By file name; stronger than the recipe's."""
    keep_archives: bool = True
    progress: bool = True
    retry_wait_s: float = RETRY_WAIT_S


class Trust(StrEnum):
    GIVEN = "given"
    PUBLISHED = "published"
    FIRST_USE = "first use"


@dataclass(frozen=True, slots=True)
class Fetched:
    """An entry of `downloads.json`."""

    url: str
    checksum: str
    trust: Trust
    done: bool


def download_archives(
    archives: Sequence[Archive],
    root: Path,
    options: DownloadOptions,
    default_parts: tuple[str, ...],
    *,
    others: Sequence[Archive] = (),
) -> None:
    """Fetch and unpack what `options` select into `root`; what is there already is left alone.

    `others` are files of the corpus that another call fetches: checksums may be given for them too. Raises
    DownloadError, ChecksumError or ArchiveError; what was finished before that stays finished.
    """
    wanted = options.parts or default_parts
    if unknown := set(wanted) - {archive.part for archive in archives}:
        known = ", ".join(dict.fromkeys(archive.part for archive in archives))
        raise DownloadError(f"no part is called {', '.join(sorted(unknown))}; known are {known}")
    names = dict.fromkeys(archive.filename for archive in (*archives, *others))
    if unknown := options.checksums.keys() - names.keys():
        raise DownloadError(
            f"a checksum is given for {', '.join(sorted(unknown))}, which is no file of this corpus: there are "
            f"{', '.join(names)}"
        )
    root.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        if archive.part in wanted:
            _bring(archive, root, options)


def read_lock(root: Path) -> dict[str, Fetched]:
    """What was fetched into `root`, by file name."""
    path = root / LOCK_NAME
    if not path.is_file():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {name: Fetched(**{**entry, "trust": Trust(entry["trust"])}) for name, entry in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as e:
        raise DownloadError(f"{path} is damaged ({e}): delete it, and every archive is checked anew") from e


def _bring(archive: Archive, root: Path, options: DownloadOptions) -> None:
    before = read_lock(root).get(archive.filename)
    expected, trust = _expected(archive, before, options)
    if before is not None and before.done and before.checksum == expected:
        return
    url = f"{options.base_url.rstrip('/')}/{archive.filename}" if options.base_url else archive.url
    path = root / "archives" / archive.filename
    fetch(url, path, expected, progress=options.progress, retry_wait_s=options.retry_wait_s)
    checksum = expected or f"sha256:{pooch.file_hash(str(path), alg='sha256')}"
    if archive.unpacked:
        try:
            unpack(path, root)
        except ArchiveError:
            if trust is Trust.FIRST_USE:  # nobody vouched for it: it may be a page that says "not found"
                path.unlink(missing_ok=True)
            raise
    _note(root, archive.filename, Fetched(url, checksum, trust, done=True))
    if archive.unpacked and not options.keep_archives:
        path.unlink()


def _expected(archive: Archive, before: Fetched | None, options: DownloadOptions) -> tuple[str | None, Trust]:
    if (given := options.checksums.get(archive.filename)) is not None:
        return given, Trust.GIVEN
    if before is not None and before.trust is Trust.GIVEN:
        return before.checksum, Trust.GIVEN
    if archive.checksum is not None:
        return archive.checksum, Trust.PUBLISHED
    return (before.checksum if before is not None else None), Trust.FIRST_USE


def _note(root: Path, filename: str, fetched: Fetched) -> None:
    entries = read_lock(root) | {filename: fetched}
    text = json.dumps({name: asdict(entry) for name, entry in sorted(entries.items())}, indent=2)
    write_text(root / LOCK_NAME, text + "\n")
