"""Records and runs say what the audit chain tells of them, or `verify`, reports and replays say that they don't."""

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.analysis import repository as records
from app.analysis.models import AnalysisRecord, MediaType
from app.application import create_app
from app.audit import repository as audit
from app.audit import rows
from app.audit.agreement import MAY_CHANGE, RECEIVED, RUN_COLUMNS
from app.audit.canonical import row_sha256
from app.audit.chain import GENESIS_HASH, event_hash
from app.database import Database
from app.detectors.source import DummySource
from app.identity.user import Role, User
from app.orm import utc_now
from app.retention import service as retention
from app.retention.verification import Verification, verify
from app.runs import repository as runs
from app.runs import service as run_service
from app.settings import Settings
from app.state import ServiceState
from earwitness.finding import Verdict

MakeClient = Callable[..., TestClient]
Upload = Callable[..., str]
KINDS = ["sqlite", "postgresql"]
OF_RECORD = "d9f4a328d392c2393805b75f7370aff6dedd3ff672f0b386c571cfd7c25a495f"
OF_RUN = "fcd5b7f97677603f111e0e05fda1fe58e4f68f7c2d6bbe2197b0c389a6c514d6"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(params=KINDS)
def own(request: pytest.FixtureRequest, make_client: MakeClient, tmp_path: Path) -> TestClient:
    return make_client(kind=request.param, evidence_dir=tmp_path / "store")


@pytest.fixture(scope="module", params=KINDS)
def shared(request: pytest.FixtureRequest, make_url: Any, tmp_path_factory: Any) -> Iterator[TestClient]:
    """One service for all that change one thing each: they compare what is altered with what was before."""
    settings = Settings(database_url=make_url(request.param), evidence_dir=tmp_path_factory.mktemp("evidence"))
    with TestClient(create_app(settings, detector=DummySource(by_filename=True))) as client:
        yield client


def state_of(client: TestClient) -> ServiceState:
    state = client.app.state.service  # type: ignore[attr-defined]
    assert isinstance(state, ServiceState)
    return state


def verified(client: TestClient) -> Verification:
    state = state_of(client)
    return verify(state.database, state.store)


def altered(found: Verification) -> tuple[int, int]:
    """Records and runs; the chain itself says nothing of it."""
    assert found.audit_intact
    assert found.in_order is (found.records_altered + found.runs_altered == 0)
    return found.records_altered, found.runs_altered


def more(after: Verification, before: Verification) -> tuple[int, int]:
    return altered(after)[0] - altered(before)[0], altered(after)[1] - altered(before)[1]


def examined(client: TestClient, upload: Upload, name: str = "a.wav", **fields: Any) -> tuple[str, str]:
    """Ids of an analysis that was run, and of the run."""
    analysis_id = upload(client, name, **fields)
    client.post(f"/v1/analysis/{analysis_id}/run")
    return analysis_id, client.get(f"/v1/analysis/{analysis_id}").json()["run_id"]


def tamper(database: Database, *statements: str, **ids: str) -> None:
    """As someone would who owns the database: the triggers go first, and come back afterwards."""
    tables = ("detector_runs", "audit_events")
    with database.write() as session:
        if database.is_sqlite:
            found = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN ('{}', '{}')"
            triggers = session.execute(text(found.format(*tables))).all()
            before = [f"DROP TRIGGER {trigger.name}" for trigger in triggers]
            after = [trigger.sql for trigger in triggers]
        else:
            before = [f"ALTER TABLE {table} DISABLE TRIGGER {table}_append_only" for table in tables]
            after = [statement.replace("DISABLE", "ENABLE") for statement in before]
        for statement in before:
            session.execute(text(statement))
        keys = {name: uuid.UUID(it).hex if database.is_sqlite else it for name, it in ids.items()}
        for statement in statements:
            wanted = {name: key for name, key in keys.items() if f":{name}" in statement}
            session.execute(text(statement), wanted)
        for statement in after:
            session.execute(text(statement))


def refused(answer: Any) -> bool:
    return (answer.status_code, answer.json().get("code")) == (500, "record_altered")


def test_what_nobody_touched_is_in_order(own: TestClient, upload: Upload, wav: bytes) -> None:
    first, _ = examined(
        own, upload, case_id="2026-1", exhibit_id="A", device_id="d", source="s", notes="ü\n\U0001f3a4"
    )
    own.post(f"/v1/analysis/{first}/run")
    own.post(f"/v1/analysis/{first}/replay")
    own.get(f"/v1/analysis/{first}/report")
    examined(own, upload, "raise_input-1.wav")
    mixed, _ = examined(own, upload, "b.wav", content=wav + b"0")
    own.put(f"/v1/analysis/{mixed}/hold", json={"held": True, "reason": "appeal"})
    released, _ = examined(own, upload, "c.wav", content=wav + b"1")
    for held in (True, False):
        own.put(f"/v1/analysis/{released}/hold", json={"held": held, "reason": "appeal"})
    erased, _ = examined(own, upload, "d.wav", content=wav + b"2")
    assert (
        own.delete(f"/v1/analysis/{erased}/evidence", params={"reason": "order of the court"}).status_code == 200
    )
    upload(own, "never-run.wav")
    own.post(f"/v1/analysis/{upload(own, 'hang-1.wav')}/run", headers={"Prefer": "respond-async"})
    state = state_of(own)
    for again in (first, mixed, upload(own)):  # under way: they go on to show the run of before, or none
        with state.database.write() as session:
            run_service.request_run(session, User("ada", Role.ADMIN), uuid.UUID(again))
    assert own.get(f"/v1/analysis/{first}").json()["status"] == "QUEUED"

    found = verified(own)
    assert altered(found) == (0, 0) and found.in_order and found.bound_in_part == 0
    swept = retention.sweep(state.database, state.store, timedelta(0), utc_now())
    assert swept.erased >= 3
    assert verified(own).in_order
    chain = own.get("/v1/audit/chain").json()
    assert (chain["intact"], chain["records_altered"], chain["runs_altered"]) == (True, 0, 0)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE detector_runs SET verdict = 'AUTHENTIC', p_fake = 0.01, llr = -4.5 WHERE id = :run", (1, 1)),
        ("UPDATE detector_runs SET llr = -4.5 WHERE id = :run", (1, 1)),
        ("UPDATE detector_runs SET score = -4.5 WHERE id = :run", (0, 1)),
        ("UPDATE detector_runs SET windows = '[]' WHERE id = :run", (0, 1)),
        ("UPDATE detector_runs SET method = NULL WHERE id = :run", (0, 1)),
        ("UPDATE detector_runs SET finished_at = '2026-01-01 00:00:00.000001' WHERE id = :run", (0, 1)),
        ("UPDATE detector_runs SET requested_by = 'ada' WHERE id = :run", (0, 1)),
        ("UPDATE detector_runs SET analysis_id = :other WHERE id = :run", (1, 1)),
        ("DELETE FROM detector_runs WHERE id = :run", (1, 1)),
        ("UPDATE analysis_records SET case_id = '2026-2' WHERE id = :analysis", (1, 0)),
        ("UPDATE analysis_records SET exhibit_id = 'B' WHERE id = :analysis", (1, 0)),
        ("UPDATE analysis_records SET notes = NULL WHERE id = :analysis", (1, 0)),
        ("UPDATE analysis_records SET created_by = 'ada' WHERE id = :analysis", (1, 0)),
        ("UPDATE analysis_records SET created_at = '2026-01-01 00:00:00.000001' WHERE id = :analysis", (1, 0)),
        ("UPDATE analysis_records SET filename = 'b.wav' WHERE id = :analysis", (1, 0)),
        ("UPDATE analysis_records SET codec = 'mp3' WHERE id = :analysis", (1, 0)),
        ("UPDATE analysis_records SET verdict = 'AUTHENTIC', p_fake = 0.01 WHERE id = :analysis", (1, 0)),
        ("UPDATE analysis_records SET signals = '{}', explanations = '[\"x\"]' WHERE id = :analysis", (1, 0)),
        ("UPDATE analysis_records SET run_id = NULL WHERE id = :analysis", (1, 0)),
        ("UPDATE analysis_records SET held_at = created_at, held_by = 'ada' WHERE id = :analysis", (1, 0)),
    ],
)
def test_what_was_changed_is_found_and_not_reported(
    shared: TestClient, upload: Upload, statement: str, expected: tuple[int, int]
) -> None:
    own = shared
    analysis_id, run_id = examined(own, upload, case_id="2026-1", notes="as it was")
    other, _ = examined(own, upload, case_id="2026-1")
    before = verified(own)
    path = f"/v1/analysis/{analysis_id}/report"
    assert own.get(path).status_code == 200

    tamper(state_of(own).database, statement, analysis=analysis_id, run=run_id, other=other)

    found = verified(own)
    assert more(found, before) == expected
    for version in (1, 2):
        assert refused(own.get(path, params={"report_version": version}))
    assert refused(own.get(path, headers={"Accept": "application/pdf"}))
    assert refused(own.post(f"/v1/analysis/{analysis_id}/replay"))
    assert own.get(f"/v1/analysis/{other}/report").status_code == 200
    chain = own.get("/v1/audit/chain").json()
    assert (chain["intact"], chain["records_altered"], chain["runs_altered"]) == (True, *altered(found))
    events = own.get(f"/v1/analysis/{analysis_id}/events").json()["items"]
    assert [event["event_type"] for event in events].count("report_issued") == 1, "a refused report is not issued"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE analysis_records SET status = 'UPLOADED' WHERE id = :analysis",
        "UPDATE analysis_records SET status = 'RUNNING' WHERE id = :analysis",
        "UPDATE analysis_records SET duration_s = 99 WHERE id = :analysis",
        "UPDATE analysis_records SET erased_at = created_at, erased_by = 'ada' WHERE id = :analysis",
    ],
)
def test_a_record_does_not_stand_elsewhere_than_the_trail_tells(
    shared: TestClient, upload: Upload, statement: str
) -> None:
    analysis_id, _ = examined(shared, upload)
    before = verified(shared)
    tamper(state_of(shared).database, statement, analysis=analysis_id)
    assert more(verified(shared), before) == (1, 0)


def test_a_record_does_not_show_a_run_that_never_was(own: TestClient, upload: Upload) -> None:
    analysis_id = upload(own)
    tamper(state_of(own).database, "UPDATE analysis_records SET status = 'DONE' WHERE id = :it", it=analysis_id)
    assert altered(verified(own)) == (1, 0)
    assert refused(own.get(f"/v1/analysis/{analysis_id}/report"))


def test_a_record_of_other_bytes_is_found_and_they_are_not_given_out_as_what_was_received(
    own: TestClient, upload: Upload, wav: bytes, tmp_path: Path
) -> None:
    analysis_id, _ = examined(own, upload)
    other = wav + b"0"
    sha256 = hashlib.sha256(other).hexdigest()
    path = tmp_path / "store" / "blobs" / sha256[:2] / sha256[2:4] / sha256
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(other)
    statement = f"UPDATE analysis_records SET sha256 = '{sha256}', size_bytes = {len(other)} WHERE id = :analysis"
    tamper(state_of(own).database, statement, analysis=analysis_id)

    found = verified(own)
    assert (found.verified, found.missing, found.altered) == (1, 0, 0), "the store is in order by itself"
    assert altered(found) == (1, 0) and not found.in_order
    for name in ("report", "evidence"):
        assert refused(own.get(f"/v1/analysis/{analysis_id}/{name}"))
    assert refused(own.post(f"/v1/analysis/{analysis_id}/replay"))


def test_an_older_run_in_the_place_of_the_newest_is_found(own: TestClient, upload: Upload) -> None:
    analysis_id, older = examined(own, upload)
    own.post(f"/v1/analysis/{analysis_id}/run")
    statement = "UPDATE analysis_records SET run_id = :run WHERE id = :analysis"  # their findings are the same
    tamper(state_of(own).database, statement, analysis=analysis_id, run=older)
    assert altered(verified(own))[0] == 1
    assert refused(own.get(f"/v1/analysis/{analysis_id}/report"))


def test_an_older_run_that_was_changed_is_found_and_not_replayed(own: TestClient, upload: Upload) -> None:
    analysis_id, older = examined(own, upload)
    own.post(f"/v1/analysis/{analysis_id}/run")
    tamper(state_of(own).database, "UPDATE detector_runs SET verdict = 'DEEPFAKE' WHERE id = :run", run=older)
    assert altered(verified(own)) == (0, 1)
    path = f"/v1/analysis/{analysis_id}"
    assert refused(own.post(f"{path}/replay", params={"run_id": older}))
    assert own.post(f"{path}/replay").status_code == 200
    assert own.get(f"{path}/report").status_code == 200, "on the newest run, which is as it was"
    assert own.get(f"{path}/replays").json()["items"][0]["run_id"] != older


def test_rows_without_events_and_events_without_rows_are_found(
    own: TestClient, upload: Upload, new_record: Any, new_run: Any
) -> None:
    analysis_id, first = examined(own, upload)
    own.post(f"/v1/analysis/{analysis_id}/run")
    database = state_of(own).database
    tamper(database, "DELETE FROM detector_runs WHERE id = :run", run=first)
    assert altered(verified(own)) == (0, 1)
    with database.write() as session:
        record = session.get(AnalysisRecord, uuid.UUID(analysis_id))
        session.add(new_run(record))
    assert altered(verified(own)) == (0, 2)
    with database.write() as session:
        session.add(new_record(sha256=record.sha256))
    assert altered(verified(own)) == (1, 2)


def test_a_record_that_is_gone_is_found(own: TestClient, upload: Upload) -> None:
    analysis_id = upload(own)
    upload(own)
    database = state_of(own).database
    if database.is_sqlite:
        with sqlite3.connect(database.url.database or "") as connection:  # which enforces no foreign keys
            connection.execute("DELETE FROM analysis_records WHERE id = ?", [uuid.UUID(analysis_id).hex])
        connection.close()
    else:
        with psycopg.connect(database.libpq_url) as owner:
            owner.execute("ALTER TABLE audit_events DROP CONSTRAINT fk_audit_events_analysis_id_analysis_records")
            owner.execute("DELETE FROM analysis_records WHERE id = %s", [analysis_id])
    assert altered(verified(own)) == (1, 0)


def test_a_run_s_end_told_twice_is_found(own: TestClient, upload: Upload) -> None:
    analysis_id, _ = examined(own, upload)
    with state_of(own).database.write() as session:
        (end,) = [it for it in audit.of_analysis(session, uuid.UUID(analysis_id)) if it.event_type == "run_done"]
        audit.append(session, end.event_type, actor=end.actor, analysis_id=end.analysis_id, details=end.details)
    assert altered(verified(own)) == (0, 1)


def test_every_step_is_looked_at(own: TestClient, upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RECORDS_A_STEP", "RUNS_A_STEP", "EVENTS_A_STEP"):
        monkeypatch.setattr(rows, name, 2)
    made = [examined(own, upload) for _ in range(5)]
    assert verified(own).in_order
    for analysis_id, run_id in made:
        tamper(
            state_of(own).database,
            "UPDATE analysis_records SET notes = 'x' WHERE id = :analysis",
            "UPDATE detector_runs SET score = 1.5 WHERE id = :run",
            analysis=analysis_id,
            run=run_id,
        )
    assert altered(verified(own)) == (5, 5)
    gone, its_run = made[-1]
    tamper(state_of(own).database, "DELETE FROM detector_runs WHERE id = :run", run=its_run)
    assert altered(verified(own)) == (5, 5), "the one that is missing was altered before"
    assert refused(own.get(f"/v1/analysis/{gone}/report"))


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE analysis_records SET created_at = 'yesterday' WHERE id = :analysis", (1, 0)),
        ("UPDATE detector_runs SET windows = 'no JSON' WHERE id = :run", (0, 1)),
    ],
)
def test_values_that_can_t_be_read_are_altered_ones(
    make_client: MakeClient, upload: Upload, statement: str, expected: tuple[int, int]
) -> None:
    """SQLite only: PostgreSQL refuses them."""
    client = make_client()
    examined(client, upload)
    analysis_id, run_id = examined(client, upload)
    tamper(state_of(client).database, statement, analysis=analysis_id, run=run_id)
    assert altered(verified(client)) == expected


def as_written_before(database: Database) -> None:
    """Give the database the chain that the service wrote before events had hashes of rows."""
    previous_hash = GENESIS_HASH
    with database.read() as session:
        events = list(audit.whole_chain(session))
    statements = []
    for event in events:
        details = {name: it for name, it in event.details.items() if name != "row_sha256"}
        fields = {name: getattr(event, name) for name in ("id", "timestamp", "event_type", "analysis_id", "actor")}
        made = event_hash(sequence=event.sequence, details=details, previous_hash=previous_hash, **fields)
        written = json.dumps(details).replace(":", "\\:")
        statements.append(
            f"UPDATE audit_events SET details = '{written}', previous_hash = '{previous_hash}', hash = '{made}' "
            f"WHERE sequence = {event.sequence}"
        )
        previous_hash = made
    tamper(database, *statements)


def test_events_of_before_bind_what_they_name(own: TestClient, upload: Upload) -> None:
    analysis_id, run_id = examined(own, upload)
    failed, _ = examined(own, upload, "raise_input-1.wav")
    database = state_of(own).database
    as_written_before(database)
    own.get(f"/v1/analysis/{analysis_id}/report")
    examined(own, upload)

    found = verified(own)
    assert found.in_order and found.bound_in_part == 4
    assert own.get("/v1/audit/chain").json()["bound_in_part"] == 4
    for name in (analysis_id, failed):
        assert own.get(f"/v1/analysis/{name}/report").status_code == 200

    tamper(database, "UPDATE detector_runs SET score = 1.5 WHERE id = :run", run=run_id)
    assert verified(own).in_order, "nothing names it"
    tamper(database, "UPDATE detector_runs SET p_fake = 0.01 WHERE id = :run", run=run_id)
    assert altered(verified(own)) == (1, 1)
    tamper(database, "UPDATE analysis_records SET filename = 'x.wav' WHERE id = :failed", failed=failed)
    assert altered(verified(own)) == (2, 1)
    for name in (analysis_id, failed):
        assert refused(own.get(f"/v1/analysis/{name}/report"))


def test_a_row_has_one_hash_on_every_database(database: Database, new_record: Any, new_run: Any) -> None:
    """The two hashes are written down here: another one would make every stored row look altered."""
    record = new_record(
        id=uuid.UUID(int=1),
        created_at=NOON,  # no microseconds
        media_type=MediaType.VIDEO,
        filename="ü\u2028\U0001f3a4.wav",
        notes="",
        sample_rate_hz=44_100,
    )
    run = new_run(
        record,
        id=uuid.UUID(int=2),
        started_at=NOON.astimezone(tz=None),
        finished_at=NOON + timedelta(microseconds=1),
        verdict=Verdict.DEEPFAKE,
        confidence=1,
        p_fake=0.1 + 0.2,
        llr=-0.0,
        score=5e-324,
        signals={"b": 1.0, "a": None, "c": 1e22, "n": -0.0},
        warnings=["\ud800", "ö"],
        windows=[{"start_s": 0.0, "score": 1 / 3}, {"z": True, "a": [1, {"y": 2, "x": 1}]}],
        media={},
    )
    with database.write() as session:
        records.add(session, record)
        runs.add(session, run)
    with database.read() as session:
        (received,), (ended,) = records.stored(session, [record.id]), runs.stored(session, [run.id])
        as_objects = records.get(session, record.id), runs.get(session, run.id)
    assert row_sha256(received, RECEIVED) == row_sha256(as_objects[0], RECEIVED) == OF_RECORD
    assert row_sha256(ended, RUN_COLUMNS) == row_sha256(as_objects[1], RUN_COLUMNS) == OF_RUN


def test_every_column_of_a_record_is_bound_or_may_change() -> None:
    """A column that comes later is bound unless it is named as one that changes: decide, and say it here."""
    assert {column.name for column in AnalysisRecord.__table__.columns} >= MAY_CHANGE
    assert set(RECEIVED) == {
        "id", "created_at", "created_by", "media_type", "filename", "sha256", "size_bytes", "container", "codec",
        "sample_rate_hz", "channels", "case_id", "exhibit_id", "device_id", "source", "notes", "idempotency_key",
        "request_fingerprint",
    }  # fmt: skip


def test_the_command_ends_with_1_and_names_what_was_altered(service_process: Any, wav: bytes) -> None:
    service = service_process.start()
    with service.client() as client:
        analysis_id = client.post("/v1/analysis/upload", files={"file": ("a.wav", wav)}).json()["analysis_id"]
    with sqlite3.connect(service.folder / "service.db") as connection:
        connection.execute("UPDATE analysis_records SET case_id = 'another'")
    connection.close()
    done = subprocess.run(
        [sys.executable, "-m", "app", "verify"],
        cwd=service.folder,
        env={**os.environ, **service.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert (told["records_altered"], told["runs_altered"], told["audit_intact"]) == (1, 0, True)
    assert analysis_id in done.stderr and "record_altered" in done.stderr
