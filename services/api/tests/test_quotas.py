"""Operations: quotas of users hold over all processes where an operator sets them; else they cost nothing."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event, func, select, text

from app.database import Database
from app.identity.user import Role, User
from app.quotas.models import Allowance, Kind
from app.quotas.repository import US_A_SECOND, Quota, Standing, look, take
from app.runs.service import request_run

MakeClient = Callable[..., TestClient]
Upload = Callable[..., str]
KINDS = ["sqlite", "postgresql"]
HOURLY = Quota(Kind.RUNS, 4, 3_600)


def taken(database: Database, amount: int = 1, user: str = "ada") -> Standing:
    with database.write() as session:
        return take(session, user, HOURLY, amount)


def pass_time(database: Database, seconds: float) -> None:
    with database.write() as session:
        session.execute(
            text("UPDATE allowances SET spent_until_us = spent_until_us - :us"),
            {"us": round(seconds * US_A_SECOND)},
        )


def test_a_quota_can_be_used_at_once_and_refills_evenly(database: Database) -> None:
    assert [taken(database).remaining for _ in range(4)] == [3, 2, 1, 0]
    refused = taken(database)
    assert not refused.allowed
    assert refused.wait_us == pytest.approx(900 * US_A_SECOND, rel=0.05)  # a quarter of the window for one of four
    pass_time(database, 901)
    assert [taken(database).allowed for _ in range(2)] == [True, False]
    pass_time(database, 10 * 3_600)
    assert [taken(database).allowed for _ in range(5)] == [True] * 4 + [False]  # a long rest saves nothing up


def test_what_is_refused_takes_nothing(database: Database) -> None:
    assert taken(database, 3).allowed
    assert not taken(database, 2).allowed
    assert taken(database, 1).allowed


def test_users_have_quotas_of_their_own_and_looking_takes_nothing(database: Database) -> None:
    taken(database, 4)
    with database.read() as session:
        assert not look(session, "ada", HOURLY, 1).allowed
        assert look(session, "bob", HOURLY, 4).allowed
    assert taken(database, 4, "bob").allowed


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_requests_are_429_with_the_time_to_wait(make_client: MakeClient, kind: str) -> None:
    client = make_client(kind=kind, requests_per_minute=1)
    answers = [client.get("/v1/models", headers={"X-User": "ada"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[-1].json()["code"] == "too_many_requests"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert answers[0].headers["ratelimit-policy"] == '"requests";q=1;w=60'
    assert answers[0].headers["ratelimit"].startswith('"requests";r=0;t=')
    assert client.get("/v1/models", headers={"X-User": "bob"}).status_code == 200
    assert client.get("/health").status_code == 200


def test_a_quota_holds_over_several_processes(make_url: Any) -> None:
    url = make_url("postgresql")
    databases = [Database(url), Database(url)]
    with ThreadPoolExecutor(8) as threads:
        standings = list(threads.map(lambda n: taken(databases[n % 2]), range(24)))
    assert [standing.allowed for standing in standings].count(True) == HOURLY.amount
    for database in databases:
        database.close()


def test_uploads_are_bounded_by_bytes_and_only_those_that_were_acknowledged_count(
    make_client: MakeClient, upload: Upload, wav: bytes
) -> None:
    client = make_client(upload_bytes_per_day=round(2.5 * len(wav)))
    client.post("/v1/analysis/upload", files={"file": ("a.wav", b"no recording")})
    upload(client)
    for _ in range(3):
        again = client.post(
            "/v1/analysis/upload", files={"file": ("a.wav", wav)}, headers={"Idempotency-Key": "k"}
        )
        assert again.status_code == 201
    refused = client.post("/v1/analysis/upload", files={"file": ("a.wav", wav)})
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert int(refused.headers["retry-after"]) > 3_600
    assert client.get("/v1/analysis").json()["total"] == 2


def test_a_recording_beyond_the_whole_quota_is_413_and_not_asked_to_wait(
    make_client: MakeClient, wav: bytes
) -> None:
    client = make_client(upload_bytes_per_day=100)
    answer = client.post("/v1/analysis/upload", files={"file": ("a.wav", wav)})
    assert (answer.status_code, answer.json()["code"]) == (413, "upload_too_large")
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize("kind", KINDS)
def test_runs_are_bounded_and_a_refused_one_costs_nothing(
    make_client: MakeClient, upload: Upload, kind: str
) -> None:
    client = make_client(kind=kind, runs_per_hour=2)
    analysis_id = upload(client)
    unknown = analysis_id.replace(analysis_id[0], "0" if analysis_id[0] != "0" else "1")
    answers = [client.post(f"/v1/analysis/{name}/run").status_code for name in (analysis_id, unknown, analysis_id)]
    assert answers == [200, 404, 200]
    refused = client.post(f"/v1/analysis/{analysis_id}/run")
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert 1_000 < int(refused.headers["retry-after"]) <= 1_800
    assert client.get(f"/v1/analysis/{analysis_id}").json()["status"] == "DONE"


def test_a_replay_is_a_run_to_the_quota(make_client: MakeClient, upload: Upload) -> None:
    client = make_client(runs_per_hour=2)
    analysis_id = upload(client)
    answers = [
        client.post(f"/v1/analysis/{analysis_id}/{what}").status_code for what in ("run", "replay", "replay")
    ]
    assert answers == [200, 200, 429]


def test_a_batch_and_a_request_of_one_user_lock_things_in_the_same_order(
    make_client: MakeClient,
    upload: Upload,
    wait_until: Callable[[Callable[[], bool]], None],
    somebody_waits: Callable[[Database], bool],
) -> None:
    client = make_client(kind="postgresql", workers=0, runs_per_hour=100)
    database = client.app.state.service.database  # type: ignore[attr-defined]
    ids = [upload(client) for _ in range(2)]
    with database.write() as session:
        client.app.state.service.quotas.charge(session, "developer", Kind.RUNS, 1)  # type: ignore[attr-defined]
        at = client.post("/v1/batches", json={"analysis_ids": ids[:1]}).headers["location"]
        wait_until(lambda: somebody_waits(database))  # the feeder, for the quota
        session.execute(text("SET LOCAL lock_timeout = '500ms'"))  # sooner than a deadlock is looked for
        request_run(session, User("developer", Role.ANALYST), uuid.UUID(ids[1]))
    wait_until(lambda: client.get(at).json()["entered"] == 1)


def test_an_item_of_a_batch_that_can_t_be_run_costs_no_run(
    make_client: MakeClient, upload: Upload, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    client = make_client(runs_per_hour=1)
    ids = [str(uuid.uuid4()), str(uuid.uuid4()), upload(client)]
    at = client.post("/v1/batches", json={"analysis_ids": ids}).headers["location"]
    wait_until(lambda: client.get(at).json()["finished_at"] is not None)
    assert (client.get(at).json()["done"], client.get(at).json()["failed"]) == (1, 2)


def test_switched_off_no_statement_is_made(make_client: MakeClient, upload: Upload) -> None:
    client = make_client()
    database = client.app.state.service.database  # type: ignore[attr-defined]
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    client.post(f"/v1/analysis/{upload(client)}/run")
    assert statements and not [statement for statement in statements if "allowances" in statement]
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Allowance)) == 0
