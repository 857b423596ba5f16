"""A database that takes no writes, for a moment or for hours, costs no run; /ready and the log tell of it."""

import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import make_url as parse_url
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from app import database as databases
from app.analysis import service as analyses
from app.analysis.models import Status
from app.errors import ShuttingDownError
from app.identity.user import Role, User
from app.runs import service as runs
from app.runs.queue import LocalQueue, Priority

HOLD_S = 0.3


def test_a_run_begins_although_the_database_is_busy_at_first(
    make_url: Callable[[str], str],
    make_client: Callable[..., TestClient],
    upload: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(databases, "BUSY_TIMEOUT_MS", 1)
    url = make_url("sqlite")
    client = make_client(database_url=url)
    analysis_id = uuid.UUID(upload(client))
    state = client.app.state.service  # type: ignore[attr-defined]
    with state.database.write() as session:
        run_id = runs.request_run(session, User("tester", Role.ADMIN), analysis_id)
    other = sqlite3.connect(str(parse_url(url).database), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")  # another writer, for longer than the service waits for one
    release = threading.Timer(HOLD_S, other.execute, ["ROLLBACK"])
    release.start()
    state.queue.submit(analysis_id, run_id, Priority.ASYNC)
    state.queue.outcome(run_id).result()
    release.join()
    other.close()
    assert client.get(f"/v1/analysis/{analysis_id}").json()["status"] == Status.DONE


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses of a patient service, made short."""
    monkeypatch.setattr(databases, "BUSY_TIMEOUT_MS", 1)
    monkeypatch.setattr(runs, "RECORDING_PAUSE_S", 0.001)
    monkeypatch.setattr(runs, "RECORDING_LONG_PAUSE_S", 0.05)


@contextmanager
def writer_held(url: str) -> Iterator[None]:
    """Nobody else writes meanwhile; reading goes on, as on a full disk."""
    other = sqlite3.connect(str(parse_url(url).database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


@pytest.mark.usefixtures("impatient")
def test_a_run_that_ends_while_nothing_can_be_written_is_recorded_once_it_can(
    make_url: Callable[[str], str],
    make_client: Callable[..., TestClient],
    upload: Callable[..., str],
    wait_until: Callable[..., None],
) -> None:
    url = make_url("sqlite")
    client = make_client(database_url=url, run_timeout=timedelta(seconds=1))
    wait_until(lambda: client.get("/ready").status_code == 200)
    path = f"/v1/analysis/{upload(client, 'hang-1.wav')}"
    client.post(f"{path}/run", headers={"Prefer": "respond-async"})
    wait_until(lambda: client.get(path).json()["status"] == Status.RUNNING)
    with capture_logs() as logs, writer_held(url):
        wait_until(lambda: any(entry.get("attempt") == runs.RECORDING_ATTEMPTS + 3 for entry in logs))
        answer = client.get("/ready")
        assert (answer.status_code, answer.json()["checks"]["database"]) == (503, "takes no writes")
        assert client.get(path).json()["status"] == Status.RUNNING
    wait_until(lambda: client.get(path).json()["status"] == Status.FAILED)
    assert client.get(path).json()["failure_code"] == "run_timeout"
    assert client.get("/ready").status_code == 200
    assert client.post(f"{path}/run").status_code == 504  # so it may be run again, and hangs again


@pytest.mark.usefixtures("impatient")
def test_a_stopping_service_waits_for_no_database(
    make_url: Callable[[str], str], make_client: Callable[..., TestClient], upload: Callable[..., str]
) -> None:
    url = make_url("sqlite")
    client = make_client(database_url=url, shutdown_grace=timedelta(0))
    analysis_id = uuid.UUID(upload(client))
    state = client.app.state.service  # type: ignore[attr-defined]
    with state.database.write() as session:
        run_id = runs.request_run(session, User("tester", Role.ADMIN), analysis_id)
    with writer_held(url):
        state.queue.submit(analysis_id, run_id, Priority.ASYNC)
        ended = state.queue.outcome(run_id)
        state.queue.close()
    assert isinstance(ended.exception(), OperationalError | ShuttingDownError)
    with state.database.read() as session:
        assert analyses.require(session, analysis_id).status is Status.QUEUED  # for the next start


def test_a_run_that_could_not_be_recorded_stands_in_the_log() -> None:
    def perform(_analysis_id: uuid.UUID, _run_id: uuid.UUID) -> None:
        raise OperationalError("BEGIN", None, sqlite3.OperationalError("database is locked"))

    queue = LocalQueue(perform, lambda: None, workers=1, max_waiting=1, grace=timedelta(0))
    analysis_id, run_id = uuid.uuid4(), uuid.uuid4()
    with capture_logs() as logs:
        queue.submit(analysis_id, run_id, Priority.ASYNC)
        queue.outcome(run_id).exception()
        queue.close()
    told = [entry for entry in logs if entry["event"] == "run_not_recorded"]
    assert [(entry["analysis_id"], entry["run_id"]) for entry in told] == [(str(analysis_id), str(run_id))]
    assert "database is locked" in str(told[0]["exc_info"])
