"""I1: how far a long run is stands in its record, whoever is at it, and a note of it can undo nothing."""

import multiprocessing
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event, text

from app.analysis import repository as records
from app.analysis.models import AnalysisRecord, Status
from app.database import Database
from app.detectors.source import DummySource
from app.orm import utc_now
from app.runs.board import Board
from app.runs.progress import ProgressNotes
from earwitness.dummy import DummyDetector

DURATION_S = 4.0
PATIENCE_S = 60.0

MakeClient = Callable[..., TestClient]
Upload = Callable[..., str]


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earwitness.pools.LOOK_EVERY_S", 0.05)
    monkeypatch.setattr("app.runs.progress.NOTE_EVERY_S", 0.2)


def shown_until_the_end(client: Any, analysis_id: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The record as the list shows it while its run is RUNNING, whenever something changed; and at its end."""
    client.post(f"/v1/analysis/{analysis_id}/run", headers={"Prefer": "respond-async"})
    shown: list[dict[str, Any]] = []
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        (record,) = client.get("/v1/analysis").json()["items"]
        if record["status"] in ("DONE", "FAILED"):
            return shown, client.get(f"/v1/analysis/{analysis_id}").json()
        if record["status"] == "RUNNING" and record not in shown:
            shown.append(record)
        time.sleep(0.05)
    raise AssertionError("the run does not end")


def check(shown: list[dict[str, Any]], end: dict[str, Any], notes: int) -> None:
    examined = [record["examined_s"] for record in shown if record["examined_s"] is not None]
    assert len(examined) >= notes and examined == sorted(examined) and 0 < examined[-1] <= DURATION_S
    shares = [record["progress"] for record in shown]
    assert shares == [min((record["examined_s"] or 0.0) / DURATION_S, 0.99) for record in shown]
    assert len({(record["run_started_at"], record["updated_at"]) for record in shown}) == 1
    assert (end["status"], end["progress"], end["examined_s"]) == ("DONE", 1.0, DURATION_S)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_run_under_way_shows_how_far_it_is(
    make_client: MakeClient, upload: Upload, make_wav: Any, kind: str
) -> None:
    client = make_client(kind=kind, detector=DummySource(DummyDetector(delay_s=2.0)))
    shown, end = shown_until_the_end(client, upload(client, content=make_wav(DURATION_S)))
    check(shown, end, notes=3)


def test_a_run_of_a_worker_elsewhere_shows_how_far_it_is(
    make_client: MakeClient, make_service: Any, make_url: Any, upload: Upload, make_wav: Any, tmp_path: Path
) -> None:
    url, evidence = make_url("postgresql"), tmp_path / "evidence"
    client = make_client(database_url=url, evidence_dir=evidence, workers=0)
    places = {"EARWITNESS_DATABASE_URL": url, "EARWITNESS_EVIDENCE_DIR": str(evidence)}
    worker = make_service(tmp_path, "work_dummy.py", DUMMY_DELAY_S="7", **places).start()
    shown, end = shown_until_the_end(client, upload(client, content=make_wav(DURATION_S)))
    check(shown, end, notes=2)
    worker.stop()


@pytest.mark.usefixtures("often")
def test_a_failed_run_keeps_how_far_it_came_and_the_next_one_begins_anew(
    make_client: MakeClient, upload: Upload, make_wav: Any
) -> None:
    client = make_client(detector=DummySource(DummyDetector(delay_s=1.0), by_filename=True))
    analysis_id = upload(client, "crash-1.wav", content=make_wav(DURATION_S))
    for _ in range(2):
        shown, end = shown_until_the_end(client, analysis_id)
        assert shown[0]["progress"] == 0.0
        assert (end["status"], end["failure_code"]) == ("FAILED", "worker_crash")
        assert DURATION_S / 2 < end["examined_s"] < DURATION_S
        assert end["progress"] == end["examined_s"] / DURATION_S


def test_a_short_run_writes_nothing_of_it(make_client: MakeClient, upload: Upload) -> None:
    client = make_client(detector=DummySource(DummyDetector(delay_s=0.5)))
    analysis_id = upload(client)
    statements: list[str] = []
    engine = client.app.state.service.database.engine  # type: ignore[attr-defined]
    event.listen(engine, "before_cursor_execute", lambda *told: statements.append(told[2]))
    assert client.post(f"/v1/analysis/{analysis_id}/run").status_code == 200
    updates = [statement for statement in statements if statement.startswith("UPDATE analysis_records")]
    assert len(updates) == 3, "request, beginning and end"


@pytest.fixture
def begun(database: Database, new_record: Any) -> AnalysisRecord:
    """A record whose run has just been begun."""
    record = new_record(
        status=Status.QUEUED, run_id=uuid.uuid4(), run_requested_by="tester", duration_s=DURATION_S
    )
    with database.write() as session:
        records.add(session, record)
    with database.write() as session:
        running = records.mark_running(session, record.id, record.run_id)
    assert running is not None
    return running


def of(database: Database, record: AnalysisRecord) -> AnalysisRecord:
    with database.read() as session:
        found = records.get(session, record.id)
    assert found is not None
    return found


def test_notes_are_seconds_apart_however_often_it_is_looked(database: Database, begun: AnalysisRecord) -> None:
    board = Board(multiprocessing.get_context("forkserver"), 1)
    with board.place() as place:
        notes = ProgressNotes(database, begun, place)
        for examined_s in (1.0, 2.0, 3.0):
            board.cells[0] = examined_s
            notes.note()
    assert of(database, begun).examined_s is None


def ended(session: Any, begun: AnalysisRecord) -> None:
    end = {"status": Status.DONE, "updated_at": utc_now(), "examined_s": DURATION_S}
    assert begun.run_id is not None
    records.show_end(session, begun.id, begun.run_id, end)


def handed_back(session: Any, begun: AnalysisRecord) -> None:
    assert begun.run_id is not None
    records.mark_waiting(session, begun.id, begun.run_id)


def taken_over(session: Any, begun: AnalysisRecord) -> None:
    assert begun.run_id is not None
    other = records.mark_running(session, begun.id, begun.run_id, even_if_running=True)
    assert other is not None and records.note_progress(session, other, 0.5)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (ended, (Status.DONE, DURATION_S, 1.0)),
        (handed_back, (Status.QUEUED, None, 0.0)),
        (taken_over, (Status.RUNNING, 0.5, 0.125)),
    ],
)
def test_a_worker_that_has_the_run_no_more_changes_nothing(
    database: Database, begun: AnalysisRecord, often: None, change: Callable[..., None], left: tuple[Any, ...]
) -> None:
    board = Board(multiprocessing.get_context("forkserver"), 1)
    with board.place() as place:
        notes = ProgressNotes(database, begun, place)
        with database.write() as session:
            change(session, begun)
        board.cells[0] = 3.0
        time.sleep(0.25)
        notes.note()
    record = of(database, begun)
    assert (record.status, record.examined_s, record.progress) == left


@pytest.mark.usefixtures("often")
def test_a_database_that_is_away_costs_a_note_and_nothing_else(
    make_url: Any, new_record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.database.BUSY_TIMEOUT_MS", 50)
    database = Database(make_url("sqlite"))
    record = new_record(status=Status.RUNNING, run_id=uuid.uuid4(), run_started_at=utc_now())
    with database.write() as session:
        records.add(session, record)
    board = Board(multiprocessing.get_context("forkserver"), 1)
    with board.place() as place:
        notes = ProgressNotes(database, record, place)
        board.cells[0] = 3.0
        time.sleep(0.25)
        with database.write() as session:  # it has one writer
            session.execute(text("SELECT 1"))
            thread = threading.Thread(target=notes.note)
            thread.start()
            thread.join(PATIENCE_S)
        assert of(database, record).examined_s is None
        time.sleep(0.25)
        notes.note()
    assert of(database, record).examined_s == 3.0
    database.close()


@pytest.mark.parametrize(
    ("status", "examined_s", "duration_s", "progress"),
    [
        (Status.UPLOADED, None, 10.0, None),
        (Status.QUEUED, None, 10.0, 0.0),
        (Status.RUNNING, None, 10.0, 0.0),
        (Status.RUNNING, 2.5, 10.0, 0.25),
        (Status.RUNNING, 10.0, 10.0, 0.99),
        (Status.RUNNING, 30.0, 10.0, 0.99),  # a header that declares too little
        (Status.RUNNING, 30.0, None, None),  # one that declares nothing
        (Status.FAILED, 2.5, 10.0, 0.25),
        (Status.FAILED, None, 10.0, None),
        (Status.DONE, None, None, 1.0),  # a video without sound
    ],
)
def test_what_progress_says(
    new_record: Any, status: Status, examined_s: float | None, duration_s: float | None, progress: float | None
) -> None:
    assert new_record(status=status, examined_s=examined_s, duration_s=duration_s).progress == progress


@pytest.mark.parametrize("told", [float("nan"), float("inf"), -3.0, 1e9])
def test_what_can_not_be_is_not_shown(told: float) -> None:
    board = Board(multiprocessing.get_context("forkserver"), 1)
    with board.place() as place:
        board.cells[0] = told
        assert place.examined_s() is None


def test_without_a_place_left_a_run_tells_nothing() -> None:
    board = Board(multiprocessing.get_context("forkserver"), 1)
    with board.place() as first, board.place() as second:
        assert (first.number, second.number, second.examined_s()) == (0, None, None)
    with board.place() as again:
        assert again.number == 0
