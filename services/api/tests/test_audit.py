"""The audit chain: everything that happens is in it, and tampering shows."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.audit import repository as audit
from app.audit.chain import GENESIS_HASH, check_chain
from app.audit.models import EventType
from app.database import Database

Upload = Callable[..., str]


def write_events(database: Database, count: int) -> None:
    for number in range(count):
        with database.write() as session:
            audit.append(
                session,
                EventType.RUN_DONE,
                actor="tester",
                analysis_id=None,
                details={"n": number, "p_fake": 0.1 + 0.2, "text": "„ö“ \U0001f3a4", "nothing": None},
            )


def check(database: Database) -> Any:
    with database.read() as session:
        return check_chain(audit.whole_chain(session))


def tamper(database: Database, statement: str) -> None:
    """As someone would who owns the database: the triggers go first."""
    with database.write() as session:
        if database.is_sqlite:
            for name in ("audit_events_no_update", "audit_events_no_delete"):
                session.execute(text(f"DROP TRIGGER {name}"))
        else:
            session.execute(text("DROP TRIGGER audit_events_append_only ON audit_events"))
        session.execute(text(statement))


def test_an_untouched_chain_is_intact(database: Database) -> None:
    assert check(database).last_hash == GENESIS_HASH
    write_events(database, 5)
    found = check(database)
    assert (found.intact, found.events) == (True, 5)


@pytest.mark.parametrize(
    ("statement", "broken_at"),
    [
        ("UPDATE audit_events SET actor = 'somebody else' WHERE sequence = 3", 3),
        ("UPDATE audit_events SET details = '{\"n\": 9}' WHERE sequence = 2", 2),
        ("UPDATE audit_events SET timestamp = '2020-01-01 00:00:00.000000' WHERE sequence = 4", 4),
        ("UPDATE audit_events SET event_type = 'run_failed' WHERE sequence = 1", 1),
        ("DELETE FROM audit_events WHERE sequence = 3", 4),
        ("DELETE FROM audit_events WHERE sequence = 1", 2),
        ("UPDATE audit_events SET hash = previous_hash WHERE sequence = 1", 1),
    ],
)
def test_tampering_is_detected_at_its_place(database: Database, statement: str, broken_at: int) -> None:
    write_events(database, 5)
    tamper(database, statement)
    found = check(database)
    assert (found.intact, found.broken_at) == (False, broken_at)


def test_a_cut_off_end_shows_against_a_noted_hash(database: Database) -> None:
    write_events(database, 3)
    noted = check(database).last_hash
    tamper(database, "DELETE FROM audit_events WHERE sequence = 3")
    found = check(database)
    assert found.intact and found.last_hash != noted


def test_parallel_writers_make_one_chain(database: Database) -> None:
    with ThreadPoolExecutor(10) as threads:
        list(threads.map(lambda _: write_events(database, 5), range(10)))
    found = check(database)
    assert (found.intact, found.events) == (True, 50)


def test_a_rolled_back_event_leaves_no_gap(database: Database) -> None:
    write_events(database, 1)
    with pytest.raises(RuntimeError), database.write() as session:
        audit.append(session, EventType.RUN_DONE, actor="a", analysis_id=None, details={})
        raise RuntimeError
    write_events(database, 1)
    found = check(database)
    assert (found.intact, found.events) == (True, 2)


def test_every_access_is_an_event_with_its_actor(client: TestClient, upload: Upload) -> None:
    analysis_id = upload(client)
    as_ada = {"X-User": "ada", "X-Role": "analyst"}
    client.post(f"/v1/analysis/{analysis_id}/run", headers=as_ada)
    client.get(f"/v1/analysis/{analysis_id}/report", headers=as_ada)
    client.get(f"/v1/analysis/{analysis_id}/evidence", headers=as_ada)
    events = client.get(f"/v1/analysis/{analysis_id}/events").json()["items"]
    assert [(event["event_type"], event["actor"]) for event in events] == [
        ("evidence_received", "developer"),
        ("run_requested", "ada"),
        ("run_done", "ada"),
        ("report_issued", "ada"),
        ("evidence_read", "ada"),
    ]
    assert all(uuid.UUID(event["id"]) for event in events)


def test_the_chain_is_checked_over_http(client: TestClient, upload: Upload) -> None:
    upload(client)
    answer = client.get("/v1/audit/chain").json()
    assert answer["intact"] is True and answer["events"] >= 1 and answer["broken_at"] is None
