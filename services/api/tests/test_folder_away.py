"""The folder of evidence is a volume that is not mounted, or another one: it is away, and nothing in it is missing."""

import errno
import os
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from app.application import CantStartError
from app.database import Database
from app.errors import EvidenceUnavailableError
from app.evidence import marking, repository
from app.evidence.store import ANOTHER_VOLUME, NOT_MOUNTED, FolderStore, NoStoreError
from app.jobs import entry
from app.jobs.operations import Operations
from app.jobs.worker import JobWorker, WorkerOptions
from app.metrics import Metrics
from app.runs import confinement, worker
from app.runs.service import Runner
from app.runs.workers import WorkerPool

MakeClient = Callable[..., TestClient]
Upload = Callable[..., str]
WaitUntil = Callable[[Callable[[], bool]], None]


@contextmanager
def unmounted(folder: Path, *, below: tuple[str, ...] = ()) -> Iterator[None]:
    """`folder` is as empty as the place where a volume is mounted, but for folders that an accident left `below`."""
    elsewhere = folder.with_name(f"{folder.name}-{uuid.uuid4().hex}")
    folder.rename(elsewhere)
    folder.mkdir()
    for name in below:
        (folder / name).mkdir()
    yield
    shutil.rmtree(folder)
    elsewhere.rename(folder)


@contextmanager
def another_volume(folder: Path) -> Iterator[None]:
    with unmounted(folder, below=("tmp", "blobs", "unreferenced")):
        (folder / "store-id").write_text("another\n")
        yield


AWAY = pytest.mark.parametrize(
    ("as_if", "told"), [(unmounted, NOT_MOUNTED), (another_volume, ANOTHER_VOLUME)], ids=["unmounted", "another"]
)


@pytest.fixture
def place(make_url: Any, tmp_path: Path) -> dict[str, Any]:
    return {"database_url": make_url("sqlite"), "evidence_dir": tmp_path / "store"}


def stop(client: TestClient) -> None:
    client.__exit__(None, None, None)


def blobs(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if len(path.name) == 64]


@AWAY
def test_what_lies_in_a_folder_that_is_away_is_unavailable_and_not_missing(
    make_client: MakeClient, place: dict[str, Any], upload: Upload, wav: bytes, as_if: Any, told: str
) -> None:
    client = make_client(**place)
    analysis_id = upload(client)
    with as_if(place["evidence_dir"]):
        for answer in (
            client.get(f"/v1/analysis/{analysis_id}/evidence"),
            client.post(f"/v1/analysis/{analysis_id}/run"),
            client.post("/v1/analysis/upload", files={"file": ("b.wav", wav)}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "evidence_unavailable")
            assert answer.json()["detail"] == told
        ready = client.get("/ready")
        assert (ready.status_code, ready.json()["checks"]["evidence_store"]) == (503, told)
        metrics = client.get("/metrics").text
        assert 'earwitness_evidence_problems_total{kind="missing"} 0.0' in metrics
        assert blobs(place["evidence_dir"]) == [], "nothing is written to the disk below"
    assert client.get(f"/v1/analysis/{analysis_id}/evidence").content == wav
    assert client.post(f"/v1/analysis/{analysis_id}/run").status_code == 200
    assert client.get("/ready").json()["checks"]["evidence_store"] == "ok"


def test_what_is_gone_from_a_folder_that_is_there_is_missing(
    make_client: MakeClient, place: dict[str, Any], upload: Upload
) -> None:
    client = make_client(**place)
    analysis_id = upload(client)
    (blob,) = blobs(place["evidence_dir"])
    blob.unlink()
    answer = client.get(f"/v1/analysis/{analysis_id}/evidence")
    assert (answer.status_code, answer.json()["code"]) == (500, "evidence_missing")


def test_what_is_to_be_erased_does_not_pass_for_removed_while_the_folder_is_away(
    make_client: MakeClient, place: dict[str, Any], upload: Upload
) -> None:
    client = make_client(**place, sweep_interval=timedelta(seconds=0.2))
    analysis_id = upload(client)
    with unmounted(place["evidence_dir"], below=("blobs", "unreferenced")):
        erased = client.delete(f"/v1/analysis/{analysis_id}/evidence", params={"reason": "a court's order"})
        assert erased.status_code == 200
        assert erased.json()["removed_at"] is None


def test_a_recording_is_not_blamed_where_the_folder_goes_after_its_hash_was_checked(
    make_client: MakeClient, place: dict[str, Any], upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(**place)
    analysis_id = upload(client)
    folder: Path = place["evidence_dir"]
    examine = Runner._examine

    def unmounted_before(self: Runner, *arguments: Any) -> Any:
        folder.rename(folder.with_name("elsewhere"))
        folder.mkdir()
        return examine(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "_examine", unmounted_before)
        failed = client.post(f"/v1/analysis/{analysis_id}/run")
    assert (failed.status_code, failed.json()["code"]) == (503, "evidence_unavailable")
    folder.rmdir()
    folder.with_name("elsewhere").rename(folder)
    assert client.post(f"/v1/analysis/{analysis_id}/run").status_code == 200


def test_a_run_waits_in_the_queue_for_a_folder_that_is_away(
    make_client: MakeClient, upload: Upload, wait_until: WaitUntil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry, "PUT_OFF", timedelta(seconds=0.2))
    monkeypatch.setattr("app.jobs.worker.FETCH_POLL_S", 0.1)
    client = make_client(kind="postgresql", evidence_dir=tmp_path / "store", run_attempts=1)
    analysis_id = upload(client)
    with unmounted(tmp_path / "store"), capture_logs() as logs:
        client.post(f"/v1/analysis/{analysis_id}/run", headers={"Prefer": "respond-async"})
        wait_until(lambda: sum(line["event"] == "run_handed_back" for line in logs) >= 3)
    wait_until(lambda: client.get(f"/v1/analysis/{analysis_id}").json()["status"] == "DONE")
    (run,) = client.get(f"/v1/analysis/{analysis_id}/runs").json()["items"]
    assert run["outcome"] == "DONE"


def test_a_service_does_not_start_without_its_volume_and_makes_nothing_there(
    make_client: MakeClient, place: dict[str, Any], upload: Upload, wav: bytes
) -> None:
    client = make_client(**place)
    analysis_id = upload(client)
    stop(client)
    with unmounted(place["evidence_dir"]):
        with pytest.raises(CantStartError, match="mount its volume"):
            make_client(**place)
        assert [path.name for path in place["evidence_dir"].iterdir()] == [".lock"]
    with another_volume(place["evidence_dir"]), pytest.raises(CantStartError, match="another volume"):
        make_client(**place)
    assert make_client(**place).get(f"/v1/analysis/{analysis_id}/evidence").content == wav


def of_before_marks(place: dict[str, Any]) -> None:
    """Database and folder as a version left them that knew no marks."""
    (place["evidence_dir"] / "store-id").unlink()
    database = Database(place["database_url"])
    with database.write() as session:
        session.execute(text("DELETE FROM evidence_folder"))
    database.close()


def test_a_folder_of_before_marks_goes_on_working_and_is_known_from_then_on(
    make_client: MakeClient, place: dict[str, Any], upload: Upload, wav: bytes
) -> None:
    client = make_client(**place)
    analysis_id = upload(client)
    stop(client)
    of_before_marks(place)
    with unmounted(place["evidence_dir"]), pytest.raises(CantStartError, match="holds nothing of the evidence"):
        make_client(**place)  # the first start after the upgrade, and the volume is away
    client = make_client(**place)
    assert client.get(f"/v1/analysis/{analysis_id}/evidence").content == wav
    with unmounted(place["evidence_dir"]):
        assert client.get(f"/v1/analysis/{analysis_id}/evidence").status_code == 503


def test_another_installation_s_folder_is_not_adopted(
    make_client: MakeClient, place: dict[str, Any], upload: Upload, wav: bytes, make_url: Any, tmp_path: Path
) -> None:
    """It has a mark, and this database, of before marks, remembers none: a wrong name at the upgrade."""
    theirs = {"database_url": make_url("sqlite"), "evidence_dir": tmp_path / "theirs"}
    client = make_client(**theirs)
    their_id = upload(client, content=wav[:-2])
    stop(client)
    client = make_client(**place)
    analysis_id = upload(client)
    stop(client)
    of_before_marks(place)
    with pytest.raises(CantStartError, match="holds nothing of the evidence"):
        make_client(**{**place, "evidence_dir": theirs["evidence_dir"]})
    for where, its_id, content in ((theirs, their_id, wav[:-2]), (place, analysis_id, wav)):
        client = make_client(**where)
        assert client.get(f"/v1/analysis/{its_id}/evidence").content == content
        stop(client)


def test_evidence_that_is_lost_for_good_is_said_to_be_missing_once_somebody_marks_the_folder(
    make_client: MakeClient, place: dict[str, Any], upload: Upload
) -> None:
    client = make_client(**place)
    analysis_id = upload(client)
    stop(client)
    mark = (place["evidence_dir"] / "store-id").read_text()
    shutil.rmtree(place["evidence_dir"])
    with pytest.raises(CantStartError, match=f"write {mark.strip()} into the file store-id"):
        make_client(**place)
    (place["evidence_dir"] / "store-id").write_text(mark)
    client = make_client(**place)
    assert client.get(f"/v1/analysis/{analysis_id}/evidence").json()["code"] == "evidence_missing"
    stop(client)
    of_before_marks(place)
    (place["evidence_dir"] / "store-id").write_text("lost\n")
    client = make_client(**place)
    assert client.get(f"/v1/analysis/{analysis_id}/evidence").json()["code"] == "evidence_missing"
    given = (place["evidence_dir"] / "store-id").read_text()
    assert given != "lost\n", "two that lost theirs must not have the same"


def test_a_restored_backup_brings_its_mark_along(
    make_client: MakeClient, place: dict[str, Any], upload: Upload, wav: bytes, tmp_path: Path
) -> None:
    client = make_client(**place)
    analysis_id = upload(client)
    backup = tmp_path / "backup"
    shutil.copytree(place["evidence_dir"], backup, ignore=shutil.ignore_patterns("tmp"))
    stop(client)
    restored = make_client(**{**place, "evidence_dir": backup})
    assert restored.get(f"/v1/analysis/{analysis_id}/evidence").content == wav
    assert restored.get("/ready").json()["checks"]["evidence_store"] == "ok"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_of_several_that_remember_a_mark_at_once_one_is_believed_by_all(kind: str, make_url: Any) -> None:
    database = Database(make_url(kind))

    def remember(number: int) -> str:
        with database.write() as session:
            return repository.note_folder(session, f"mark-{number}")

    with ThreadPoolExecutor(8) as threads:
        marks = set(threads.map(remember, range(32)))
    with database.read() as session:
        assert marks == {repository.folder_mark(session)}
    database.close()


def test_a_mark_is_there_before_it_is_remembered(make_url: Any, tmp_path: Path) -> None:
    """A service that is killed in between finds its mark again, and does not take the folder for another one."""
    database = Database(make_url("sqlite"))
    store = FolderStore(tmp_path / "store")
    store.set_mark("made by the one that was killed")
    marking.settle(database, store)
    with database.read() as session:
        assert repository.folder_mark(session) == store.mark() == "made by the one that was killed"
    store.close()
    database.close()


@pytest.fixture
def shared(make_url: Any, tmp_path: Path) -> Iterator[tuple[Database, Path]]:
    """A PostgreSQL database and the folder that a service with it has settled."""
    database = Database(make_url("postgresql"))
    store = FolderStore(tmp_path / "store")
    marking.settle(database, store)
    yield database, tmp_path / "store"
    store.close()
    database.close()


@AWAY
def test_a_worker_tells_that_the_folder_is_away(shared: tuple[Database, Path], as_if: Any, told: str) -> None:
    database, folder = shared
    store = FolderStore(folder, owner=False)
    marking.expect(database, store)
    options = WorkerOptions(1, timedelta(seconds=1), timedelta(seconds=30), timedelta(seconds=1))
    worker = JobWorker(database, lambda *_: None, lambda: None, options)
    operations = Operations(database, store, worker, Metrics(), threading.Event())
    assert operations.checks()["evidence_store"] == "ok"
    with as_if(folder):
        assert operations.checks()["evidence_store"] == told
    assert operations.checks()["evidence_store"] == "ok"


@AWAY
def test_a_worker_beside_a_folder_that_is_away_does_not_start(
    shared: tuple[Database, Path], as_if: Any, told: str
) -> None:
    database, folder = shared
    with as_if(folder):
        (folder / "blobs").mkdir(exist_ok=True)  # as by an accident of long ago
        store = FolderStore(folder, owner=False)
        with pytest.raises(NoStoreError, match=told):
            marking.expect(database, store)


def test_a_worker_that_starts_before_the_first_service_learns_the_mark_from_it(
    make_url: Any, tmp_path: Path
) -> None:
    """After an upgrade all start at once: there is a folder, and nobody has marked it yet."""
    database = Database(make_url("postgresql"))
    (tmp_path / "store" / "blobs").mkdir(parents=True)
    beside = FolderStore(tmp_path / "store", owner=False)
    marking.expect(database, beside)
    beside.check_readable()
    owner = FolderStore(tmp_path / "store")
    marking.settle(database, owner)
    beside.check_readable()
    with unmounted(tmp_path / "store"), pytest.raises(EvidenceUnavailableError):
        beside.check_readable()
    owner.close()
    database.close()


def test_a_folder_and_a_database_that_are_away_together_leave_nothing_to_be_missed(
    shared: tuple[Database, Path], make_url: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One host, one switch: what the database said of the folder before holds, and nothing else is claimed."""
    database, folder = shared
    store, late = FolderStore(folder, owner=False), FolderStore(folder, owner=False)
    marking.expect(database, store)
    young = Database(make_url("postgresql"))  # which has not been told of a mark
    marking.expect(young, late)
    with unmounted(folder, below=("blobs", "unreferenced")), monkeypatch.context() as patch:
        patch.setattr(Database, "read", no_answer)
        for away in (store, late):
            for call in (away.verify, away.delete):
                with pytest.raises(EvidenceUnavailableError) as told:
                    call("0" * 64)
                assert "SELECT" not in str(told.value), "it is told at /ready, where nobody signs in"
            with pytest.raises(EvidenceUnavailableError):
                away.check_readable()
    young.close()


@contextmanager
def no_answer(_database: Database) -> Iterator[None]:
    raise OperationalError("SELECT", None, ConnectionRefusedError())
    yield


def test_a_volume_that_is_replaced_by_its_copy_is_owned_again(
    make_client: MakeClient, place: dict[str, Any], upload: Upload, wav: bytes, tmp_path: Path
) -> None:
    client = make_client(**place)
    analysis_id = upload(client)
    folder: Path = place["evidence_dir"]
    shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("tmp"))
    folder.rename(tmp_path / "broken")
    (tmp_path / "copy").rename(folder)
    assert client.get("/ready").json()["checks"]["evidence_store"] == "ok"
    assert client.get(f"/v1/analysis/{analysis_id}/evidence").content == wav
    upload(client, content=wav[:-2])
    with pytest.raises(BlockingIOError):
        FolderStore(folder)
    stop(client)
    FolderStore(folder).close()


def test_where_another_service_owns_the_copy_this_one_has_no_store(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    store = FolderStore(folder)
    store.set_mark("x")
    store.make_folders()
    store.expect(lambda: "x")
    shutil.copytree(folder, tmp_path / "copy")
    folder.rename(tmp_path / "broken")
    (tmp_path / "copy").rename(folder)
    other = FolderStore(folder)
    with pytest.raises(EvidenceUnavailableError, match="another service") as told:
        store.check_writable()
    assert str(folder) not in str(told.value), "it is told at /ready, where nobody signs in"
    other.close()
    store.check_writable()
    store.close()


def test_a_mark_that_is_no_file_is_told_with_what_it_must_be(make_url: Any, tmp_path: Path) -> None:
    database = Database(make_url("sqlite"))
    store = FolderStore(tmp_path / "store")
    (tmp_path / "store" / "store-id").mkdir()
    with pytest.raises(NoStoreError, match="must be a file that the service's user can read"):
        marking.settle(database, store)
    store.close()
    database.close()


def test_on_a_full_disk_the_service_starts_and_marks_the_folder_later(
    make_client: MakeClient, place: dict[str, Any], upload: Upload, wav: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there to serve, to examine, and to erase, which makes room."""
    client = make_client(**place)
    analysis_id = upload(client)
    stop(client)
    of_before_marks(place)
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(FolderStore, "set_mark", full)
        client = make_client(**place)
        assert client.get(f"/v1/analysis/{analysis_id}/evidence").content == wav
        stop(client)
    assert [line["event"] for line in logs].count("evidence_folder_not_marked") == 1
    make_client(**place)
    assert (place["evidence_dir"] / "store-id").exists()


def full(_store: FolderStore, _mark: str) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_an_upload_leaves_is_not_removed_from_another_volume(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    store.set_mark("x")
    store.make_folders()
    store.expect(lambda: "x")
    sha256 = "0" * 64
    with another_volume(tmp_path / "store"):
        theirs = tmp_path / "store" / "blobs" / "00" / "00" / sha256
        with pytest.raises(ZeroDivisionError), store.holding(sha256, lambda _: nullcontext(False)):
            theirs.parent.mkdir(parents=True)
            theirs.write_bytes(b"an equal blob")
            raise ZeroDivisionError
        assert theirs.exists()
    store.close()


@pytest.mark.parametrize("name", ["verify", "retention", "orphans", "remove-orphans"])
def test_a_command_beside_a_folder_that_is_away_says_so_and_has_changed_nothing(
    make_client: MakeClient, place: dict[str, Any], upload: Upload, tmp_path: Path, name: str
) -> None:
    client = make_client(**place)
    upload(client)
    with unmounted(place["evidence_dir"], below=("blobs", "unreferenced")):
        environment = {
            **os.environ,
            "EARWITNESS_DATABASE_URL": place["database_url"],
            "EARWITNESS_EVIDENCE_DIR": str(place["evidence_dir"]),
        }
        command = [sys.executable, "-m", "app", name]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
    assert (done.returncode, done.stdout) == (2, "")
    assert "mount its volume" in done.stderr


@pytest.mark.skipif(bool(confinement.missing()), reason=f"this machine lacks {confinement.missing()}")
def test_workers_that_shut_themselves_in_before_the_volume_was_mounted_again_are_replaced(
    tmp_path: Path, wav: bytes
) -> None:
    """To the kernel the new folder is another one. The recording must not be blamed: it was not read."""
    folder = tmp_path / "store"
    folder.mkdir()
    pool = WorkerPool(None, workers=2, memory_bytes=2 << 30, readable=(folder,))
    try:
        for _ in range(2):
            pool.call(worker.ready, None, timeout_s=60)
        folder.rename(tmp_path / "before")
        folder.mkdir()
        (folder / "blob").write_bytes(wav)
        assert pool.call(worker.look, folder / "blob", "a.wav", 60, timeout_s=60).sample_rate_hz == 8_000
        (tmp_path / "elsewhere").write_bytes(wav)
        with pytest.raises(EvidenceUnavailableError):
            pool.call(worker.look, tmp_path / "elsewhere", "a.wav", 60, timeout_s=60)
    finally:
        pool.close()
