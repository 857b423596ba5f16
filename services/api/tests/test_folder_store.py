"""The folder, B3: bytes are durable before anything names them, written once; what nobody names is swept away."""

import hashlib
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from app.evidence.store import EvidenceStore, FolderStore, SweepResult

CONTENT = b"evidence" * 1_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FolderStore]:
    store = FolderStore(tmp_path)
    store.make_folders()
    yield store
    store.close()


def put(store: EvidenceStore, content: bytes = CONTENT, referenced: bool = True) -> str:
    with store.receive() as incoming:
        incoming.write(content)
        received = incoming.finish()
        with store.holding(received.sha256, lambda _: nullcontext(referenced)):
            store.prepare(incoming)
            store.publish(incoming)
    return received.sha256


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and path.name != ".lock")


def test_bytes_come_back_under_their_hash_and_read_only(store: FolderStore, tmp_path: Path) -> None:
    assert put(store) == SHA256
    (path,) = files(tmp_path)
    assert path == tmp_path / "blobs" / SHA256[:2] / SHA256[2:4] / SHA256
    assert path.read_bytes() == CONTENT
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    store.verify(SHA256)


def test_nobody_else_enters_a_folder_of_the_store_under_the_usual_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        store = FolderStore(tmp_path / "evidence")
        store.make_folders()
        put(store)
        store.close()
    finally:
        os.umask(before)
    folders = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert len(folders) == 6  # the store's, its three, and two for the hash
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_equal_bytes_share_one_file_that_is_not_touched_again(store: FolderStore, tmp_path: Path) -> None:
    put(store)
    (path,) = files(tmp_path)
    before = path.stat()
    put(store)
    assert files(tmp_path) == [path]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_bytes_that_another_upload_holds_are_not_removed(store: FolderStore, tmp_path: Path) -> None:
    with store.holding(SHA256, lambda _: nullcontext(False)):
        with pytest.raises(RuntimeError), store.receive() as incoming:
            incoming.write(CONTENT)
            incoming.finish()
            with store.holding(SHA256, lambda _: nullcontext(False)):
                store.publish(incoming)
                raise RuntimeError
        assert len(files(tmp_path)) == 1


def test_sweep_removes_partial_files_and_sets_unreferenced_blobs_aside(store: FolderStore, tmp_path: Path) -> None:
    kept = put(store, b"kept")
    orphan = put(store, b"orphan")
    (tmp_path / "tmp" / "dead.part").write_bytes(b"half")

    def referenced(hashes: Collection[str]) -> set[str]:
        return {kept} & set(hashes)

    assert store.sweep(referenced) == SweepResult(partial_files=1, set_aside=1, taken_back=0)
    aside = tmp_path / "unreferenced" / orphan
    assert files(tmp_path) == [tmp_path / "blobs" / kept[:2] / kept[2:4] / kept, aside]
    assert (aside.read_bytes(), stat.S_IMODE(aside.stat().st_mode)) == (b"orphan", 0o400)
    assert store.sweep(referenced) == SweepResult(0, 0, 0)


def test_a_sweep_by_the_wrong_database_loses_no_byte_and_the_right_one_takes_all_back(
    store: FolderStore, tmp_path: Path
) -> None:
    hashes = {put(store, bytes([n])) for n in range(5)}
    before = {path: path.read_bytes() for path in files(tmp_path)}
    assert store.sweep(lambda _: set()) == SweepResult(partial_files=0, set_aside=5, taken_back=0)
    assert sorted(path.read_bytes() for path in files(tmp_path)) == sorted(before.values())
    assert store.sweep(lambda names: hashes & set(names)) == SweepResult(0, 0, taken_back=5)
    assert {path: path.read_bytes() for path in files(tmp_path)} == before


def test_a_blob_that_is_set_aside_replaces_none_that_was_before(store: FolderStore, tmp_path: Path) -> None:
    for content in (CONTENT, b"tampered"):
        put(store)
        (blob,) = [path for path in files(tmp_path) if "blobs" in path.parts]
        blob.chmod(0o644)
        blob.write_bytes(content)
        store.sweep(lambda _: set())
    assert sorted(path.read_bytes() for path in files(tmp_path)) == sorted([CONTENT, b"tampered"])


def test_a_second_store_on_the_same_folder_is_refused(store: FolderStore, tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError, match="another service"):
        FolderStore(tmp_path)


def test_the_lock_ends_with_the_store(tmp_path: Path) -> None:
    FolderStore(tmp_path).close()
    FolderStore(tmp_path).close()


def test_new_folders_and_the_file_are_synced_before_publishing_ends(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def recording(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        real(handle)

    monkeypatch.setattr(os, "fsync", recording)
    put(store)
    assert synced[0].endswith(".part")
    assert synced[1:] == ["blobs", SHA256[:2], SHA256[2:4]]
