"""Where evidence lies: a folder of files named by their SHA-256, written once and never again.

    with store.receive() as incoming:            # tmp/<random>.part
        incoming.write(block)                    # hashed on the way, one disk write
        received = incoming.finish()             # synced, read-only, still under its temporary name
        with store.holding(received.sha256, is_referenced):
            store.publish(incoming)              # renamed to blobs/ab/cd/abcd...; directory synced
            ...                                  # commit the row that refers to it

The order makes every ending safe: bytes are durable before a row can name them. Bytes that no row names are removed
at once where the transaction fails. Where the process died, `sweep` sets them aside at the next start, and never
removes them: the database that it asks may be the wrong one, and then these are all the evidence there is.
Equal bytes share one file. One service process owns a store (`lock`); what several hosts share is an object
store behind the same protocol.

A folder may be a volume that is not mounted, and is empty then. By its mark (`app.evidence.marking`) the store knows
whether it is there: where it is not, nothing is said to be missing, nothing is written, and nothing counts as removed.
"""

import errno
import fcntl
import hashlib
import os
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Protocol

from app.errors import EvidenceAlteredError, EvidenceMissingError, EvidenceUnavailableError, StorageFullError

READ_BLOCK_BYTES = 1 << 20
SWEEP_BATCH = 500  # hashes a question to the database
NO_EVIDENCE = "0" * 64  # no file has this hash that anybody knows of
FOLDER_MODE, BLOB_MODE = 0o700, 0o400  # whatever the umask: evidence is the service's user's alone
FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
MARK_NAME = "store-id"
MARK_CHARACTERS = 64  # read of it: far more than an id has
NOT_MOUNTED = "the evidence folder is not there: mount its volume where EARWITNESS_EVIDENCE_DIR leads"
ANOTHER_VOLUME = (
    "another volume lies where the evidence folder should be: mount its own where EARWITNESS_EVIDENCE_DIR leads"
)
FULL = "the evidence store has no room for this upload; nothing was kept"


@dataclass(frozen=True, slots=True)
class Received:
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Stored:
    """What lies in a store under this hash; whether it still has it was not looked at."""

    sha256: str
    size_bytes: int
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class SweepResult:
    partial_files: int
    """Uploads that broke off; removed."""
    set_aside: int
    """Complete blobs that no row names; moved to `unreferenced/`."""
    taken_back: int
    """Blobs of `unreferenced/` that a row names; moved back to where they are looked for."""


class NoStoreError(FileNotFoundError):
    """There is no evidence store where one should be; the message says what to do."""


class Incoming(Protocol):
    """Bytes on their way in."""

    @property
    def path(self) -> Path:
        """Where they can be read locally before they are published."""
        ...

    def write(self, block: bytes) -> None: ...
    def finish(self) -> Received: ...


class EvidenceStore(Protocol):
    @property
    def local_folder(self) -> Path:
        """In which every path lies that `receive` and `local_copy` give: workers can read there, and nowhere else."""
        ...

    def receive(self) -> AbstractContextManager[Incoming]:
        """A new upload; leaving the context removes whatever was not published."""
        ...

    def holding(
        self, sha256: str, referenced: Callable[[str], AbstractContextManager[bool]]
    ) -> AbstractContextManager[None]:
        """While inside, nobody here removes the blob; leaving by an exception removes it if nothing refers to it.

        `referenced` says whether anything does; while it is entered, nobody anywhere publishes bytes of this hash.
        Entering reads a blob that is there already, since it will stand for the bytes that arrive: enter before the
        transaction. Raises EvidenceAlteredError where it no longer has its hash; that blob stays as it is.
        """
        ...

    def prepare(self, incoming: Incoming) -> None:
        """What of publishing takes long; before the transaction, since others may wait for that."""
        ...

    def publish(self, incoming: Incoming) -> None:
        """Within the transaction that names the bytes, with their hash locked against removal."""
        ...

    def local_copy(self, sha256: str) -> AbstractContextManager[Path]:
        """A path at which the bytes can be read, after every one was read and hashed again. Raises as `verify`."""
        ...

    def read(self, sha256: str) -> Iterator[bytes]:
        """The bytes in blocks, as they are. Raises EvidenceMissingError at once."""
        ...

    def verify(self, sha256: str) -> None:
        """Read every byte again. Raises EvidenceMissingError or EvidenceAlteredError."""
        ...

    def delete(self, sha256: str) -> None:
        """Remove the bytes for good, every copy that the store has of them; nothing happens where there are none.

        For erasure only (`app.retention`), which makes sure that nothing refers to them and nobody publishes them.
        """
        ...

    def stored(self) -> Iterator[Stored]:
        """All that lies there, in no order; what comes and goes meanwhile may be missed."""
        ...

    def check_writable(self) -> None:
        """Raises an AppError, one of OUTAGES among them, or OSError where nothing can be taken in now."""
        ...

    def check_readable(self) -> None:
        """Raises an AppError, one of OUTAGES among them, or OSError where `local_copy` could give nothing now."""
        ...

    def check_room(self) -> None:
        """Raises StorageFullError, or OSError, where this host has no room for what `local_copy` makes.

        It asks this host alone and takes less than a millisecond, whatever the state of the store.
        """
        ...

    def close(self) -> None: ...


class FolderIncoming:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self.received: Received | None = None

    @property
    def path(self) -> Path:
        return self._path

    def write(self, block: bytes) -> None:
        self._digest.update(block)
        rest = memoryview(block)
        with full_disk_reported():
            while rest:
                rest = rest[os.write(self._file, rest) :]
        self._size_bytes += len(block)

    def finish(self) -> Received:
        with full_disk_reported():
            os.fsync(self._file)
            os.fchmod(self._file, BLOB_MODE)
        self.close()
        self.received = Received(self._digest.hexdigest(), self._size_bytes)
        return self.received

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class FolderStore:
    """An `EvidenceStore` in a local folder."""

    def __init__(self, root: Path, *, owner: bool = True) -> None:
        """Take the lock. Raises BlockingIOError where another service owns `root`.

        The owner makes the folders in it (`make_folders`) once it is sure that they belong here.

        Beside the service that owns it (`owner=False`) only `verify`, `local_copy`, `stored` and `delete` may be used.
        Nothing is made then: raises NoStoreError where `root` is no store, since in an empty one everything would look
        as if it were removed already.
        """
        self.local_folder = root.resolve()
        self._partial = root / "tmp"
        self._blobs = root / "blobs"
        self._unreferenced = root / "unreferenced"
        self._mark = root / MARK_NAME
        self._lock_path = root / ".lock"
        self._expected: Callable[[], str | None] = lambda: None
        if owner:
            root.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        elif not self._blobs.is_dir():
            raise NoStoreError(
                f"{self.local_folder} is no evidence store: name the service's in EARWITNESS_EVIDENCE_DIR (a relative "
                "path counts from where the command is called), mount its volume, or start the service first, which "
                "makes one"
            )
        self._held: Counter[str] = Counter()
        self._held_lock = threading.Lock()
        self._lock_file: int | None = None
        self._owning = threading.Lock()
        if owner:
            self._lock_file = self._take_lock()

    def make_folders(self) -> None:
        for folder in (self._partial, self._blobs, self._unreferenced):
            folder.mkdir(mode=FOLDER_MODE, exist_ok=True)

    def mark(self) -> str | None:
        """What the folder is marked with; None where it is not. Raises OSError where that can't be read."""
        try:
            with self._mark.open("rb") as file:
                return file.read(MARK_CHARACTERS).decode("utf-8", "replace").strip() or None
        except (FileNotFoundError, NotADirectoryError):
            return None

    def set_mark(self, mark: str) -> None:
        """For good, and whole or not at all. Raises OSError."""
        new = self._mark.with_name(f".{MARK_NAME}.{uuid.uuid4().hex}")
        try:
            file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, BLOB_MODE)
            try:
                os.write(file, f"{mark}\n".encode())
                os.fsync(file)
            finally:
                os.close(file)
            new.rename(self._mark)
        finally:
            new.unlink(missing_ok=True)
        _sync_folder(self._mark.parent)

    def expect(self, mark: Callable[[], str | None]) -> None:
        """From now on this is the store only while it has that mark; None, asked each time, while nobody knows it."""
        self._expected = mark

    def check_there(self) -> None:
        """Raises EvidenceUnavailableError where what lies here is not the store."""
        expected = self._expected()
        if expected is None:
            return
        try:
            found = self.mark()
        except OSError as error:
            raise EvidenceUnavailableError(f"the evidence folder can't be read: {error.strerror}") from error
        if found != expected:
            raise EvidenceUnavailableError(NOT_MOUNTED if found is None else ANOTHER_VOLUME)
        self._own_again()

    def _own_again(self) -> None:
        """The volume may have been replaced by a copy of it: the lock lies on the old one, and what a copy leaves out
        is to be made. Raises EvidenceUnavailableError where another service was quicker, or nothing can be made."""
        with self._owning:
            if self._lock_file is None:  # closed meanwhile
                return
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._lock_file), self._lock_path.stat()):
                    return
            try:
                lock_file = self._take_lock()
                os.close(self._lock_file)
                self._lock_file = lock_file
                self.make_folders()
            except BlockingIOError as error:  # told at /ready and to whoever asks: without the path
                raise EvidenceUnavailableError("another service works with the evidence folder now") from error
            except OSError as error:
                told = f"the evidence folder was replaced and can't be taken: {error.strerror}"
                raise EvidenceUnavailableError(told) from error

    @contextmanager
    def _away_reported(self) -> Iterator[None]:
        """Raises EvidenceUnavailableError for what fails within because the store is not there."""
        try:
            yield
        except OSError:
            self.check_there()
            raise

    def has(self, sha256: str) -> bool:
        """Also where it was set aside; whether it still has that hash was not looked at."""
        return self._blob(sha256).exists() or (self._unreferenced / sha256).exists()

    def _take_lock(self) -> int:
        lock_file = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock_file)
            raise BlockingIOError(
                f"another service works with the evidence folder {self._lock_path.parent}: stop it first"
            ) from error
        return lock_file

    @contextmanager
    def receive(self) -> Iterator[FolderIncoming]:
        self.check_there()
        with self._away_reported(), full_disk_reported():
            incoming = FolderIncoming(self._partial / f"{uuid.uuid4().hex}.part")
        try:
            yield incoming
        finally:
            incoming.close()
            incoming.path.unlink(missing_ok=True)  # published ones have another name by now

    @contextmanager
    def holding(self, sha256: str, referenced: Callable[[str], AbstractContextManager[bool]]) -> Iterator[None]:
        with self._held_lock:
            self._held[sha256] += 1
        keep = True
        try:
            self._verify_if_there(sha256)
            keep = False
            yield
            keep = True
        finally:
            with self._held_lock:
                self._held[sha256] -= 1
                if not self._held[sha256]:
                    del self._held[sha256]
            if not keep:
                with suppress(EvidenceUnavailableError):  # what is left there is set aside by the next start
                    self.check_there()  # or it would be somebody else's
                    with referenced(sha256) as still, self._held_lock:
                        if not still and sha256 not in self._held:
                            self._blob(sha256).unlink(missing_ok=True)

    def prepare(self, incoming: Incoming) -> None:
        """Nothing: a rename is quick."""

    def publish(self, incoming: Incoming) -> None:
        assert isinstance(incoming, FolderIncoming) and incoming.received is not None
        target = self._blob(incoming.received.sha256)
        self.check_there()
        with self._held_lock, self._away_reported(), full_disk_reported():
            # An equal blob stays as it is: replacing it would also replace one that was tampered with, unnoticed.
            if target.exists():
                return
            self._make_folders(target)
            incoming.path.rename(target)
            _sync_folder(target.parent)

    @contextmanager
    def local_copy(self, sha256: str) -> Iterator[Path]:
        self.verify(sha256)
        yield self._blob(sha256)

    def read(self, sha256: str) -> Iterator[bytes]:
        try:
            file = self._blob(sha256).open("rb")
        except OSError as error:
            raise self._unreadable(error) from error
        return _blocks(file)

    def verify(self, sha256: str) -> None:
        digest = hashlib.sha256()
        try:
            for block in self.read(sha256):
                digest.update(block)
        except OSError as error:
            raise self._unreadable(error) from error
        if digest.hexdigest() != sha256:
            raise EvidenceAlteredError(
                "the stored evidence no longer has the hash that it was received with: an operator must look",
                actual_sha256=digest.hexdigest(),
            )

    def _unreadable(self, error: OSError) -> EvidenceMissingError:
        """Raises EvidenceUnavailableError where it may only be the store that is away."""
        self.check_there()
        if isinstance(error, FileNotFoundError):
            return EvidenceMissingError("the evidence of this analysis is not in the store")
        return EvidenceMissingError(f"the stored evidence can't be read: {error.strerror}")

    def _verify_if_there(self, sha256: str) -> None:
        if self._blob(sha256).exists():
            try:
                self.verify(sha256)
            except EvidenceMissingError:
                if self._blob(sha256).exists():  # else it was erased meanwhile, and is not missed
                    raise

    def delete(self, sha256: str) -> None:
        self.check_there()  # or what is not to be seen now would pass for removed
        for path in (self._blob(sha256), *self._unreferenced.glob(f"{sha256}*")):
            if path.exists():
                path.unlink()
                _sync_folder(path.parent)

    def stored(self) -> Iterator[Stored]:
        """What was set aside included."""
        self.check_there()
        for path in (*self._blobs.glob("*/*/*"), *self._unreferenced.glob("*")):
            with suppress(FileNotFoundError):
                found = path.stat()
                changed_at = datetime.fromtimestamp(found.st_mtime, UTC)
                yield Stored(path.name.partition(".")[0], found.st_size, changed_at)

    def sweep(self, referenced: Callable[[Collection[str]], Collection[str]]) -> SweepResult:
        """Put in order what a dead process left; `referenced` gives those of some hashes that rows name.

        Only uploads that broke off are removed. Not to be called while uploads arrive.
        """
        partial_files = 0
        for path in self._partial.iterdir():
            path.unlink()
            partial_files += 1
        taken_back = 0
        for names in _batches(sorted(path.name for path in self._unreferenced.iterdir())):
            for sha256 in referenced(names):
                taken_back += self._take_back(sha256)
        set_aside = 0
        for names in _batches(sorted(path.name for path in self._blobs.glob("*/*/*"))):
            for sha256 in set(names) - set(referenced(names)):
                self._set_aside(sha256)
                set_aside += 1
        return SweepResult(partial_files, set_aside, taken_back)

    def _take_back(self, sha256: str) -> bool:
        """False where a blob of that name lies in its place already: that one stays."""
        target = self._blob(sha256)
        if target.exists():
            return False
        self._make_folders(target)
        (self._unreferenced / sha256).rename(target)
        _sync_folder(target.parent)
        _sync_folder(self._unreferenced)
        return True

    def _set_aside(self, sha256: str) -> None:
        source, target = self._blob(sha256), self._unreferenced / sha256
        if target.exists():  # a rename would delete it, and one of the two may have been altered
            target = target.with_name(f"{sha256}.{uuid.uuid4().hex}")
        source.rename(target)
        _sync_folder(self._unreferenced)
        _sync_folder(source.parent)

    def check_writable(self) -> None:
        self.check_there()
        probe = self._partial / f"{uuid.uuid4().hex}.ready"
        try:
            with full_disk_reported():
                probe.write_bytes(b"1")
        finally:
            probe.unlink(missing_ok=True)

    def check_readable(self) -> None:
        with suppress(EvidenceMissingError):  # it was asked, and it answered
            self.verify(NO_EVIDENCE)  # which asks for the mark, since it is not there

    def check_room(self) -> None:
        """Nothing: what is read is what lies here."""

    def close(self) -> None:
        with self._owning:
            if self._lock_file is not None:
                os.close(self._lock_file)
            self._lock_file = None

    def _make_folders(self, blob: Path) -> None:
        for folder in (blob.parent.parent, blob.parent):
            if not folder.exists():
                folder.mkdir(mode=FOLDER_MODE)
                _sync_folder(folder.parent)

    def _blob(self, sha256: str) -> Path:
        return self._blobs / sha256[:2] / sha256[2:4] / sha256


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while block := file.read(READ_BLOCK_BYTES):
            yield block


def _batches(names: Iterable[str]) -> Iterator[list[str]]:
    """`names` in lists of at most SWEEP_BATCH."""
    rest = iter(names)
    while batch := list(islice(rest, SWEEP_BATCH)):
        yield batch


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def full_disk_reported(told: str = FULL) -> Iterator[None]:
    """Raises StorageFullError where the disk is full, while something is written within."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL_ERRNOS:
            raise StorageFullError(told) from error
        raise
