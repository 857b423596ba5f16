"""A local folder for files that stand only for a while; what a dead process left in it is removed by the next one.

spool = Spool(Path("var/evidence"))
path = spool.new_path()              # nothing is there yet
spool.close()                        # and it is gone with all that was left
"""

import errno
import fcntl
import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

LOCK_NAME = ".lock"
CANT_SET_ASIDE = frozenset({errno.EOPNOTSUPP, errno.EINVAL})
ROOM_BYTES = 16 << 20
"""Room for a quarter of an hour of compressed sound: with less, most of what comes would not fit."""
RESERVED_BYTES = 1 << 20
"""What a file must really be given: free blocks alone say nothing of a quota or of a limit on files."""


class Spool:
    """A folder of this process below `root`/spool, held by a lock, so that others can tell when it is dead.

    One process at a time sweeps and makes its folder.
    """

    def __init__(self, root: Path) -> None:
        folders = root / "spool"
        folders.mkdir(parents=True, exist_ok=True, mode=0o700)
        starts = _open_lock(folders)
        try:
            fcntl.flock(
                starts, fcntl.LOCK_EX
            )  # else another one that starts takes a folder without its lock for dead
            for folder in folders.iterdir():
                _remove_if_dead(folder)
            self.folder = folders.resolve() / uuid.uuid4().hex
            self.folder.mkdir(mode=0o700)
            self._lock_file = _open_lock(self.folder)
            fcntl.flock(self._lock_file, fcntl.LOCK_EX)
        finally:
            os.close(starts)

    def new_path(self) -> Path:
        return self.folder / uuid.uuid4().hex

    def check_room(self) -> None:
        """Raises OSError where no file can be made here, or where less than ROOM_BYTES are free.

        Cheap enough to be asked before every job: the file system sets blocks aside, and nothing is written to them.
        """
        path = self.new_path()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _set_aside(handle, RESERVED_BYTES)
            found = os.fstatvfs(handle)
        finally:
            os.close(handle)
            path.unlink(missing_ok=True)
        if found.f_bavail * found.f_frsize + RESERVED_BYTES < ROOM_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock_file)


def _open_lock(folder: Path) -> int:
    return os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _set_aside(handle: int, size_bytes: int) -> None:
    """Raises OSError where the file can't have so many bytes."""
    try:
        os.posix_fallocate(handle, 0, size_bytes)
    except OSError as error:
        if error.errno not in CANT_SET_ASIDE:
            raise
        os.write(handle, b"1")  # where blocks can't be set aside, at least something must be taken


def _remove_if_dead(folder: Path) -> None:
    with suppress(OSError):  # held by a living process, just closed by one, or the lock of those that start
        lock_file = _open_lock(folder)
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        finally:
            os.close(lock_file)
