"""Unpack an archive into a folder: all of it or nothing, and nothing outside the folder.

    unpack(Path("data/LA.zip"), Path("data"))      # -> 121461, the number of files

Zip and tar (plain, gz, bz2, xz) by the standard library alone. Members are unpacked into a temporary folder beside
their destination and moved when all of them are there, so that several archives may fill one folder (ASVspoof 5's
`flac_T` comes in five) and a broken one leaves nothing behind.
"""

import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath

from ml.datasets.errors import ArchiveError

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def unpack(archive: Path, destination: Path) -> int:
    """Unpack `archive` into `destination` (made where missing), replacing files of the same name; count them.

    Raises ArchiveError for a damaged archive, for a member that would land outside `destination` or is a link
    or device, and for a kind that the standard library can't unpack.
    """
    destination.mkdir(parents=True, exist_ok=True)
    with _scratch(destination, archive.name) as scratch:
        try:
            if archive.name.endswith(".zip"):
                _unzip(archive, scratch)
            elif archive.name.endswith(TAR_SUFFIXES):
                _untar(archive, scratch)
            else:
                raise ArchiveError(
                    f"{archive.name} is no zip or tar: unpack it into {destination} with its own program "
                    "(for example `7z x`), then run `prepare`"
                )
        except (zipfile.BadZipFile, tarfile.ReadError, EOFError, zlib.error) as e:
            raise ArchiveError(f"{archive.name} is damaged ({e}): delete it and download it again") from e
        except OSError as e:
            raise ArchiveError(f"{archive.name} could not be unpacked into {destination}: {e}") from e
        return _move_into(scratch, destination)


@contextmanager
def _scratch(destination: Path, name: str) -> Iterator[Path]:
    prefix = f".unpacking-{name}-"
    for stale in destination.glob(f"{prefix}*"):  # of a process that was killed
        shutil.rmtree(stale, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=destination))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            _check_name(member.filename, archive)
            if stat.S_ISLNK(member.external_attr >> 16):
                raise ArchiveError(f"{archive.name}: {member.filename} is a link; no data set here has any")
            file.extract(member, folder)


def _untar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as file:
        for member in file:
            _check_name(member.name, archive)
            if not (member.isfile() or member.isdir()):
                raise ArchiveError(f"{archive.name}: {member.name} is a link or device; no data set here has any")
            try:
                file.extract(member, folder, filter="data")
            except tarfile.FilterError as e:
                raise ArchiveError(f"{archive.name}: {e}; the archive is not safe to unpack") from e


def _check_name(name: str, archive: Path) -> None:
    path = PureWindowsPath(name)  # takes both kinds of slash, and drives
    if path.drive or path.root or ".." in path.parts:
        raise ArchiveError(f"{archive.name}: {name!r} would land outside the folder; the archive is not safe")


def _move_into(source: Path, destination: Path) -> int:
    count = 0
    for folder, _, names in os.walk(source):
        target = destination / Path(folder).relative_to(source)
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            (Path(folder) / name).replace(target / name)
            count += 1
    return count
