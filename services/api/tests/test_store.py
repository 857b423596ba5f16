"""Both evidence stores keep the same promises: the folder, and a bucket on a server that speaks the S3 protocol."""

import hashlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from xml.etree import ElementTree

import httpx2 as httpx
import obstore
import pytest

from app.errors import EvidenceAlteredError, EvidenceMissingError, EvidenceUnavailableError
from app.evidence.objects import EvidenceUrlError, ObjectStore, Place
from app.evidence.store import EvidenceStore, FolderStore, Received

CONTENT = b"evidence" * 1_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
LARGE = bytes(range(256)) * (20 << 12)  # 20 MiB: three parts


class Backdoor(Protocol):
    """What lies in a store, seen and changed behind its back."""

    def blobs(self) -> dict[str, bytes]: ...
    def alter(self, sha256: str, content: bytes) -> None: ...
    def leftovers(self) -> list[str]: ...


@dataclass
class Folder:
    root: Path

    def blobs(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.root / "blobs").glob("*/*/*")}

    def alter(self, sha256: str, content: bytes) -> None:
        path = self.root / "blobs" / sha256[:2] / sha256[2:4] / sha256
        path.chmod(0o644)
        path.write_bytes(content)

    def leftovers(self) -> list[str]:
        return [path.name for path in (self.root / "tmp").iterdir()]


@dataclass
class Bucket:
    place: Place
    spool: Path

    def blobs(self) -> dict[str, bytes]:
        objects = self.place.open()
        found = obstore.list(objects).collect()
        return {Path(meta["path"]).name: bytes(obstore.get(objects, meta["path"]).bytes()) for meta in found}

    def alter(self, sha256: str, content: bytes) -> None:
        obstore.put(self.place.open(), f"blobs/{sha256[:2]}/{sha256[2:4]}/{sha256}", content)

    def leftovers(self) -> list[str]:
        """Files of the spool, and uploads in parts that were neither completed nor aborted."""
        files = [path.name for path in self.spool.rglob("*") if path.is_file() and path.name != ".lock"]
        listed = httpx.get(f"{self.place.endpoint}/{urlsplit(self.place.url).netloc}?uploads")
        return files + [
            tag.text or "" for tag in ElementTree.fromstring(listed.text).iter() if tag.tag.endswith("UploadId")
        ]


@pytest.fixture(params=["folder", "objects"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[EvidenceStore, Backdoor]]:
    store: EvidenceStore
    if request.param == "folder":
        store = FolderStore(tmp_path)
        store.make_folders()
        yield store, Folder(tmp_path)
    else:
        place: Place = request.getfixturevalue("bucket")
        store = ObjectStore(place, tmp_path)
        yield store, Bucket(place, tmp_path)
    store.close()


def put(
    store: EvidenceStore, content: bytes = CONTENT, *, referenced: bool = True, fail: bool = False
) -> Received:
    with store.receive() as incoming:
        incoming.write(content)
        received = incoming.finish()
        with store.holding(received.sha256, lambda _: nullcontext(referenced)):
            store.prepare(incoming)
            store.publish(incoming)
            if fail:
                raise RuntimeError
    return received


@pytest.mark.parametrize("content", [CONTENT, LARGE], ids=["small", "in parts"])
def test_bytes_come_back_under_their_hash(both: tuple[EvidenceStore, Backdoor], content: bytes) -> None:
    store, behind = both
    sha256 = hashlib.sha256(content).hexdigest()
    assert put(store, content) == Received(sha256, len(content))
    assert behind.blobs() == {sha256: content}
    assert b"".join(store.read(sha256)) == content
    with store.local_copy(sha256) as path:
        assert path.read_bytes() == content
    assert behind.leftovers() == []


def test_equal_bytes_are_kept_once(both: tuple[EvidenceStore, Backdoor]) -> None:
    store, behind = both
    put(store)
    put(store)
    assert behind.blobs() == {SHA256: CONTENT}


def test_an_upload_that_breaks_off_leaves_nothing(both: tuple[EvidenceStore, Backdoor]) -> None:
    store, behind = both
    with pytest.raises(RuntimeError), store.receive() as incoming:
        incoming.write(LARGE)
        raise RuntimeError
    assert (behind.blobs(), behind.leftovers()) == ({}, [])


@pytest.mark.parametrize("referenced", [False, True])
def test_a_transaction_that_fails_leaves_only_bytes_that_others_name(
    both: tuple[EvidenceStore, Backdoor], referenced: bool
) -> None:
    store, behind = both
    with pytest.raises(RuntimeError):
        put(store, referenced=referenced, fail=True)
    assert len(behind.blobs()) == (1 if referenced else 0)


def test_altered_bytes_are_noticed_and_not_handed_out_for_examination(
    both: tuple[EvidenceStore, Backdoor],
) -> None:
    store, behind = both
    put(store)
    behind.alter(SHA256, CONTENT[:-1] + b"X")
    with pytest.raises(EvidenceAlteredError) as noticed:
        store.verify(SHA256)
    assert noticed.value.actual_sha256 == hashlib.sha256(CONTENT[:-1] + b"X").hexdigest()
    with pytest.raises(EvidenceAlteredError), store.local_copy(SHA256):
        pass
    assert behind.leftovers() == []


def test_an_upload_of_the_same_bytes_does_not_hide_an_alteration(both: tuple[EvidenceStore, Backdoor]) -> None:
    store, behind = both
    put(store)
    behind.alter(SHA256, b"tampered")
    with pytest.raises(EvidenceAlteredError):
        put(store, referenced=False)  # not acknowledged: the good bytes are not kept
    assert behind.blobs() == {SHA256: b"tampered"}


def test_missing_bytes_are_noticed_at_once(both: tuple[EvidenceStore, Backdoor]) -> None:
    store, _ = both
    for read in (store.verify, store.read, lambda sha256: store.local_copy(sha256).__enter__()):
        with pytest.raises(EvidenceMissingError):
            read(SHA256)


def test_erased_bytes_are_gone_and_may_come_again(both: tuple[EvidenceStore, Backdoor]) -> None:
    store, behind = both
    put(store)
    store.delete(SHA256)
    store.delete(SHA256)
    assert behind.blobs() == {}
    put(store)
    assert behind.blobs() == {SHA256: CONTENT}


def test_whether_it_can_be_written_to_is_told_and_leaves_nothing(both: tuple[EvidenceStore, Backdoor]) -> None:
    store, behind = both
    store.check_writable()
    assert behind.blobs() == {}


@pytest.mark.parametrize("url", ["file:///srv/evidence", "s3://", "evidence", "s3://bucket?x=1"])
def test_an_address_that_is_none_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(EvidenceUrlError, match="s3://bucket"):
        ObjectStore(Place(url), tmp_path)


def test_a_store_that_is_away_is_told_without_its_address(
    bucket: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.evidence.objects.RETRIES", {"max_retries": 0})
    with socket.socket() as nobody:  # bound, but nobody listens
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        store = ObjectStore(replace(bucket, endpoint=f"http://127.0.0.1:{port}"), tmp_path)
        with pytest.raises(EvidenceUnavailableError) as told:
            put(store)
        with pytest.raises(OSError, match="can't be written"):
            store.check_writable()
    assert str(port) not in str(told.value)
    store.close()


def test_a_connection_that_breaks_in_an_upload_leaves_no_part_of_it(
    bucket: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.evidence.objects.RETRIES", {"max_retries": 0})
    with Breaking(bucket, after_bytes=9 << 20) as endpoint:
        store = ObjectStore(replace(bucket, endpoint=endpoint), tmp_path)
        with pytest.raises(EvidenceUnavailableError):
            put(store, LARGE)
        store.close()
    assert Bucket(bucket, tmp_path).blobs() == {}


def test_what_a_dead_process_left_in_the_spool_is_removed_and_a_living_one_s_is_not(
    bucket: Place, tmp_path: Path
) -> None:
    living = ObjectStore(bucket, tmp_path)
    with living.receive() as incoming:
        dead = tmp_path / "spool" / "dead"
        dead.mkdir()
        (dead / ".lock").touch()
        (dead / "half").write_bytes(b"half an upload")
        ObjectStore(bucket, tmp_path).close()
        assert incoming.path.exists() and not dead.exists()
    living.close()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_recording(bucket: Place, tmp_path: Path) -> None:
    """In and out again, in a process of its own each."""
    peaks = []
    for mebibytes in (32, 320):
        command = [
            sys.executable,
            "-c",
            IN_AND_OUT,
            bucket.url,
            bucket.endpoint or "",
            str(tmp_path),
            str(mebibytes),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
        peaks.append(int(done.stdout))
    print(f"peak memory: {peaks[0] >> 10} MiB for 32 MiB, {peaks[1] >> 10} MiB for 320 MiB")
    assert peaks[1] < 1.2 * peaks[0]


IN_AND_OUT = """
import os, resource, sys
from contextlib import nullcontext
from pathlib import Path
from app.evidence.objects import ObjectStore, Place

url, endpoint, spool, mebibytes = sys.argv[1:]
store = ObjectStore(Place(url, endpoint, None, "key", "secret"), Path(spool))
with store.receive() as incoming:
    for _ in range(int(mebibytes)):
        incoming.write(os.urandom(1 << 20))
    received = incoming.finish()
    with store.holding(received.sha256, lambda _: nullcontext(True)):
        store.prepare(incoming)
        store.publish(incoming)
with store.local_copy(received.sha256):
    pass
store.close()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


class Breaking:
    """A relay to the server that takes `after_bytes` in all and then closes every connection."""

    def __init__(self, place: Place, *, after_bytes: int) -> None:
        parts = urlsplit(place.endpoint or "")
        self._target = (parts.hostname, parts.port)
        self._left = after_bytes
        self._listener = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> str:
        threading.Thread(target=self._accept, daemon=True).start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: Any) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                server = socket.create_connection(self._target)
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._relay, args=(source, sink), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError), source, sink:
            while self._left > 0 and (block := source.recv(65_536)):
                self._left -= len(block)
                sink.sendall(block)
