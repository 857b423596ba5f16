"""A database that is away for a moment costs no run; one that stays away is told in the log."""

import sqlite3
import threading
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import make_url as parse_url
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from app import database as databases
from app.analysis.models import Status
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
