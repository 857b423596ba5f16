"""Evidence in an object store that speaks the S3 protocol, shared by any number of services and workers.

    store = ObjectStore(Place("s3://evidence/earwitness", endpoint="http://127.0.0.1:9000", ...), spool)

The same protocol as the folder's (`app.evidence.store`). An upload stands in the local spool until it is complete,
hashed and looked at, for the look needs a file; then it goes to the store in parts, under its content address. An
object appears there when its last part was accepted, whole or not at all, so no temporary key is needed. Nothing is
kept in memory but a few blocks and parts.

What is not done at a start here: sweeping. Other processes may be in the middle of an upload; `app.retention.orphans`
finds what a killed one left.
"""

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from app.errors import EvidenceAlteredError, EvidenceMissingError, EvidenceUnavailableError
from app.evidence.spool import Spool
from app.evidence.store import (
    NO_EVIDENCE,
    READ_BLOCK_BYTES,
    FolderIncoming,
    Incoming,
    Stored,
    full_disk_reported,
)

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

PART_BYTES = 8 << 20  # of 10,000 parts at most: objects up to 78 GiB
PARTS_AT_ONCE = 3  # in memory
CLIENT: "ClientConfig" = {
    "connect_timeout": timedelta(seconds=5),
    "read_timeout": timedelta(seconds=30),  # of each read: a long recording may take longer in all
    "timeout": timedelta(hours=6),
}
RETRIES: "RetryConfig" = {
    "max_retries": 5,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
}
BLOBS = "blobs"
LISTED_AT_ONCE = 1_000  # the most that the protocol gives
MISSING = "the evidence of this analysis is not in the store"
FULL_SPOOL = "there is no room below EARWITNESS_EVIDENCE_DIR for copies of evidence on its way"


class EvidenceUrlError(OSError):
    """The address of the store is none; the message says what one looks like."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the objects lie. What is None is taken from the environment as the AWS tools take it, keys included."""

    url: str
    """s3://bucket or s3://bucket/prefix"""
    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None

    def open(self) -> S3Store:
        """Raises EvidenceUrlError. Nothing is asked of the server yet."""
        parts = urlsplit(self.url)
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
            raise EvidenceUrlError("EARWITNESS_EVIDENCE_URL must be s3://bucket or s3://bucket/prefix")
        config: S3Config = {"checksum_algorithm": "SHA256"}  # the server refuses a part that arrives otherwise
        if self.endpoint is not None:
            config["endpoint"] = self.endpoint
        if self.region is not None or self.endpoint is not None:
            config["region"] = self.region or "us-east-1"  # servers of one's own have no regions
        if self.access_key_id is not None:
            config["access_key_id"] = self.access_key_id
        if self.secret_access_key is not None:
            config["secret_access_key"] = self.secret_access_key
        client = CLIENT.copy()
        if (self.endpoint or os.environ.get("AWS_ENDPOINT_URL", "")).startswith("http://"):
            client["allow_http"] = True
        prefix = parts.path.strip("/") or None
        try:
            return S3Store(parts.netloc, prefix=prefix, config=config, client_options=client, retry_config=RETRIES)
        except (BaseError, ValueError) as error:
            raise EvidenceUrlError(f"the evidence store can't be used as it is named: {error}") from error


class ObjectStore:
    """An `EvidenceStore` in a bucket. Keys: `blobs/ab/cd/abcd...`, as in the folder."""

    def __init__(self, place: Place, spool: Path) -> None:
        """`spool`: a local folder, for uploads on their way in and for copies that workers read."""
        self._objects = place.open()
        self._spool = Spool(spool)
        self.local_folder = self._spool.folder

    @contextmanager
    def receive(self) -> Iterator[FolderIncoming]:
        path = self._spool.new_path()
        with full_disk_reported():
            incoming = FolderIncoming(path)
        try:
            yield incoming
        finally:
            incoming.close()
            path.unlink(missing_ok=True)

    @contextmanager
    def holding(self, sha256: str, referenced: Callable[[str], AbstractContextManager[bool]]) -> Iterator[None]:
        if self._size_bytes(sha256) is not None:
            self.verify(sha256)
        try:
            yield
        except BaseException:
            with referenced(sha256) as still:
                if not still:
                    self.delete(sha256)
            raise

    def prepare(self, incoming: Incoming) -> None:
        """Send the bytes, unless the store has them: `publish` then only has to look."""
        self.publish(incoming)

    def publish(self, incoming: Incoming) -> None:
        assert isinstance(incoming, FolderIncoming) and incoming.received is not None
        received = incoming.received
        # An equal object stays as it is: replacing it would also replace one that was tampered with, unnoticed.
        if self._size_bytes(received.sha256) is not None:
            return
        with _store_away_reported():
            obstore.put(
                self._objects,
                _key(received.sha256),
                incoming.path,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )
        if self._size_bytes(received.sha256) != received.size_bytes:
            raise EvidenceUnavailableError("the evidence store did not keep the upload as it was sent")

    @contextmanager
    def local_copy(self, sha256: str) -> Iterator[Path]:
        path = self._spool.new_path()
        try:
            digest = hashlib.sha256()
            with full_disk_reported(FULL_SPOOL), os.fdopen(_new_file(path), "wb") as file:
                for block in self.read(sha256):
                    digest.update(block)
                    file.write(block)
            _check(sha256, digest.hexdigest())
            yield path
        finally:
            path.unlink(missing_ok=True)

    def read(self, sha256: str) -> Iterator[bytes]:
        with _store_away_reported():
            found = obstore.get(self._objects, _key(sha256))
        return _blocks(found.stream(min_chunk_size=READ_BLOCK_BYTES))

    def verify(self, sha256: str) -> None:
        digest = hashlib.sha256()
        for block in self.read(sha256):
            digest.update(block)
        _check(sha256, digest.hexdigest())

    def delete(self, sha256: str) -> None:
        with _store_away_reported():
            obstore.delete(self._objects, _key(sha256))

    def stored(self) -> Iterator[Stored]:
        pages = obstore.list(self._objects, BLOBS, chunk_size=LISTED_AT_ONCE)
        while True:
            with _store_away_reported():
                page = next(pages, None)
            if page is None:
                return
            for found in page:
                sha256 = found["path"].rpartition("/")[2]
                if found["path"] == _key(sha256):  # what else may lie there is not ours
                    yield Stored(sha256, found["size"], found["last_modified"])

    def check_writable(self) -> None:
        self.check_room()  # an upload stands in the spool first
        probe = f"ready/{uuid.uuid4().hex}"
        try:
            obstore.put(self._objects, probe, b"1")
            obstore.delete(self._objects, probe)
        except (BaseError, OSError) as error:
            raise OSError(f"the evidence store can't be written to: {_told(error)}") from error

    def check_readable(self) -> None:
        with suppress(EvidenceMissingError):  # it was asked, and it answered
            self.verify(NO_EVIDENCE)
        self.check_room()

    def check_room(self) -> None:
        with full_disk_reported(FULL_SPOOL):
            self._spool.check_room()

    def close(self) -> None:
        self._spool.close()

    def _size_bytes(self, sha256: str) -> int | None:
        try:
            with _store_away_reported():
                return obstore.head(self._objects, _key(sha256))["size"]
        except EvidenceMissingError:
            return None


def _new_file(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _key(sha256: str) -> str:
    return f"{BLOBS}/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def _blocks(stream: "obstore.BytesStream") -> Iterator[bytes]:
    while True:
        with _store_away_reported():
            block = next(stream, None)
        if block is None:
            return
        yield bytes(block)


def _check(sha256: str, actual: str) -> None:
    if actual != sha256:
        raise EvidenceAlteredError(
            "the stored evidence no longer has the hash that it was received with: an operator must look",
            actual_sha256=actual,
        )


@contextmanager
def _store_away_reported() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise EvidenceUnavailableError("the evidence store's bucket is not there") from error
        raise EvidenceMissingError(MISSING) from error
    except (BaseError, OSError) as error:
        raise EvidenceUnavailableError(f"the evidence store is not available: {_told(error)}") from error


def _told(error: Exception) -> str:
    """The kind of an error: its text names addresses and keys, and clients may see this."""
    return type(error).__name__
