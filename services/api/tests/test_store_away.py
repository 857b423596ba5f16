"""The evidence store goes away and comes back: nothing that was accepted is lost to it, and no run fails for it."""

import resource
import selectors
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from structlog.testing import capture_logs

from app.batches import feeder
from app.evidence.objects import Place
from app.jobs import entry
from app.jobs.worker import FETCH_POLL_S

MakeClient = Callable[..., TestClient]
MakeWav = Callable[..., bytes]
Upload = Callable[..., str]
WaitUntil = Callable[[Callable[[], bool]], None]
SPOOL_BYTES = 200_000  # more than a log of the worker, less than the recording and than a block
AWAY = {"max_retries": 0}


class Cable:
    """Between the services and the store; pulled out, connections are cut and refused."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self._to = (parts.hostname or "", parts.port or 0)
        self._plugged = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self.plug_in()
        threading.Thread(target=self._accept, daemon=True).start()

    def plug_in(self) -> None:
        self._plugged.set()

    def pull_out(self) -> None:
        self._plugged.clear()
        for end in self._open:
            with_both_ends_told(end)

    def close(self) -> None:
        self.pull_out()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._plugged.is_set():
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()
            else:
                near.close()

    def _carry(self, near: socket.socket) -> None:
        with near, socket.create_connection(self._to) as far, selectors.DefaultSelector() as either:
            self._open += [near, far]
            either.register(near, selectors.EVENT_READ, far)
            either.register(far, selectors.EVENT_READ, near)
            while True:
                for key, _ in either.select():
                    assert isinstance(key.fileobj, socket.socket)
                    try:
                        if not (block := key.fileobj.recv(1 << 16)):
                            return
                        key.data.sendall(block)
                    except OSError:
                        return


def with_both_ends_told(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # closed already


@pytest.fixture
def cable(bucket: Place) -> Iterator[Cable]:
    assert bucket.endpoint is not None
    cable = Cable(bucket.endpoint)
    yield cable
    cable.close()


@pytest.fixture
def site(make_client: MakeClient, bucket: Place, cable: Cable, monkeypatch: pytest.MonkeyPatch) -> MakeClient:
    """`site(...)`: a service whose evidence lies behind the cable, and that is quick to notice."""
    monkeypatch.setattr("app.evidence.objects.RETRIES", AWAY)
    monkeypatch.setattr(entry, "PUT_OFF", timedelta(seconds=0.2))
    monkeypatch.setattr("app.jobs.worker.FETCH_POLL_S", 0.2)
    monkeypatch.setattr(feeder, "OUTAGE_S", 0.2)
    monkeypatch.setattr(feeder, "ACTIVE_S", 0.02)
    place = replace(bucket, endpoint=cable.endpoint)

    def make(**settings: Any) -> TestClient:
        return make_client(
            evidence_url=place.url,
            evidence_endpoint=place.endpoint,
            evidence_access_key=place.access_key_id,
            evidence_secret_key=place.secret_access_key,
            **settings,
        )

    return make


def logged(logs: list[Any], event: str) -> int:
    return sum(line["event"] == event for line in logs)


def runs_of(client: Any, analysis_id: str) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = client.get(f"/v1/analysis/{analysis_id}/runs").json()["items"]
    return runs


def test_a_run_waits_in_the_queue_for_a_store_that_is_away(
    site: MakeClient, cable: Cable, upload: Upload, wait_until: WaitUntil
) -> None:
    client = site(kind="postgresql", run_attempts=1)
    analysis_id = upload(client)
    cable.pull_out()
    with capture_logs() as logs:
        client.post(f"/v1/analysis/{analysis_id}/run", headers={"Prefer": "respond-async"})
        wait_until(lambda: logged(logs, "run_handed_back") >= 3)  # more often than workers may die at it
    assert client.get(f"/v1/analysis/{analysis_id}").json()["status"] in ("QUEUED", "RUNNING")
    cable.plug_in()
    wait_until(lambda: client.get(f"/v1/analysis/{analysis_id}").json()["status"] == "DONE")
    assert [run["outcome"] for run in runs_of(client, analysis_id)] == ["DONE"]
    assert client.app.state.service.queue.depth() == 0  # type: ignore[attr-defined]


def test_a_run_that_was_put_off_for_too_long_ends_with_the_outage_as_its_code(
    site: MakeClient, cable: Cable, upload: Upload, wait_until: WaitUntil
) -> None:
    client = site(kind="postgresql")
    analysis_id = upload(client)
    cable.pull_out()
    with capture_logs() as logs:
        client.post(f"/v1/analysis/{analysis_id}/run", headers={"Prefer": "respond-async"})
        wait_until(lambda: logged(logs, "run_handed_back") >= 1)
    database = client.app.state.service.database  # type: ignore[attr-defined]

    def a_day_passes() -> bool:
        earlier = '{"put_off_since": "2026-01-01T00:00:00+00:00"}'
        with database.write() as session:
            statement = (
                "UPDATE procrastinate_jobs SET args = args || CAST(:earlier AS jsonb) WHERE status = 'todo'"
            )
            return bool(session.execute(text(statement), {"earlier": earlier}).rowcount)

    wait_until(a_day_passes)
    wait_until(lambda: client.get(f"/v1/analysis/{analysis_id}").json()["status"] == "FAILED")
    assert [run["failure_code"] for run in runs_of(client, analysis_id)] == ["evidence_unavailable"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_batch_waits_for_a_store_that_is_away(
    site: MakeClient,
    cable: Cable,
    wait_until: WaitUntil,
    tmp_path: Path,
    make_wav: MakeWav,
    kind: str,
) -> None:
    for number in range(3):
        (tmp_path / f"{number}.wav").write_bytes(make_wav(tone_hz=300.0 + number))
    client = site(kind=kind, import_dir=tmp_path)
    cable.pull_out()
    with capture_logs() as logs:
        made = client.post("/v1/batches", json={"import_path": "."}, headers={"Idempotency-Key": uuid.uuid4().hex})
        at = made.headers["location"]
        wait_until(lambda: logged(logs, "batch_waits_for_store") >= 3)
    assert (client.get(at).json()["total"], client.get(at).json()["entered"]) == (3, 0)
    cable.plug_in()
    wait_until(lambda: client.get(at).json()["finished_at"] is not None)
    assert (client.get(at).json()["done"], client.get(at).json()["failed"]) == (3, 0)


def test_with_sqlite_a_batch_begins_again_what_failed_for_a_store_that_was_away(
    site: MakeClient, cable: Cable, upload: Upload, wait_until: WaitUntil
) -> None:
    client = site()
    ids = [upload(client) for _ in range(2)]
    cable.pull_out()
    with capture_logs() as logs:
        at = client.post("/v1/batches", json={"analysis_ids": ids}).headers["location"]
        wait_until(lambda: logged(logs, "batch_waits_for_store") >= feeder.MAX_ATTEMPTS)
    assert (client.get(at).json()["entered"], client.get(at).json()["failed"]) == (2, 0)
    cable.plug_in()
    wait_until(lambda: client.get(at).json()["finished_at"] is not None)
    assert (client.get(at).json()["done"], client.get(at).json()["failed"]) == (2, 0)
    outcomes = [[run["failure_code"] for run in runs_of(client, one)] for one in ids]
    assert outcomes == [[None, "evidence_unavailable"]] * 2, "newest first"


def test_a_worker_without_room_for_copies_leaves_the_runs_to_others_and_says_so(
    make_service: Any,
    make_url: Any,
    bucket: Place,
    wait_until: WaitUntil,
    upload: Upload,
    make_wav: MakeWav,
    tmp_path: Path,
) -> None:
    assert bucket.endpoint and bucket.access_key_id and bucket.secret_access_key
    common = {
        "EARWITNESS_DATABASE_URL": make_url("postgresql"),
        "EARWITNESS_EVIDENCE_URL": bucket.url,
        "EARWITNESS_EVIDENCE_ENDPOINT": bucket.endpoint,
        "EARWITNESS_EVIDENCE_ACCESS_KEY": bucket.access_key_id,
        "EARWITNESS_EVIDENCE_SECRET_KEY": bucket.secret_access_key,
        "EARWITNESS_LOG_LEVEL": "WARNING",  # the log is a file too
        "EARWITNESS_WORKER_PORT": "0",
    }
    for name in ("service", "worker", "other"):
        (tmp_path / name).mkdir()
    service = make_service(tmp_path / "service", EARWITNESS_WORKERS="0", **common).start()
    worker = make_service(tmp_path / "worker", "work_dummy.py", **common).start()
    other = make_service(tmp_path / "other", "work_dummy.py", **common)
    with service.client() as client, worker.client() as told:
        wait_until(lambda: told.get("/ready").status_code == 200)
        first, second = (upload(client, content=make_wav(20.0, tone_hz=tone_hz)) for tone_hz in (300.0, 400.0))
        usual = resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (SPOOL_BYTES, usual[1]))
        wait_until(lambda: told.get("/ready").json()["checks"]["queue"] == "takes no runs")
        assert told.get("/ready").json()["checks"]["evidence_store"] == "no room for copies"
        assert told.get("/health").status_code == 200, "a restart would not help"
        client.post(f"/v1/analysis/{first}/run", headers={"Prefer": "respond-async"})
        time.sleep(2 * FETCH_POLL_S)  # it looks some more times
        assert jobs(service.environment["EARWITNESS_DATABASE_URL"]) == [("todo", 0, None)], "not even begun"
        other.start()
        wait_until(lambda: client.get(f"/v1/analysis/{first}").json()["status"] == "DONE")
        other.stop()
        client.post(f"/v1/analysis/{second}/run", headers={"Prefer": "respond-async"})
        resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, usual)
        wait_until(lambda: client.get(f"/v1/analysis/{second}").json()["status"] == "DONE")
        wait_until(lambda: told.get("/ready").status_code == 200)
    assert (worker.folder / "service.log").read_text().count("takes_no_runs") == 1, "said once"
    worker.stop()
    service.stop()


def jobs(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT status, attempts, scheduled_at FROM procrastinate_jobs").fetchall()


def test_a_service_without_room_for_uploads_is_not_ready(
    make_service: Any, bucket: Place, wait_until: WaitUntil, tmp_path: Path
) -> None:
    assert bucket.endpoint and bucket.access_key_id and bucket.secret_access_key
    service = make_service(
        tmp_path,
        EARWITNESS_EVIDENCE_URL=bucket.url,
        EARWITNESS_EVIDENCE_ENDPOINT=bucket.endpoint,
        EARWITNESS_EVIDENCE_ACCESS_KEY=bucket.access_key_id,
        EARWITNESS_EVIDENCE_SECRET_KEY=bucket.secret_access_key,
    ).start()
    with service.client() as client:
        wait_until(lambda: client.get("/ready").status_code == 200)
        usual = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (SPOOL_BYTES, usual[1]))
        assert client.get("/ready").json()["checks"]["evidence_store"] == "no room for uploads"
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, usual)
        assert client.get("/ready").status_code == 200
    service.stop()
