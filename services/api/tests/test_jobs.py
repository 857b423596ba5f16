"""Beyond one machine: runs through a queue in PostgreSQL, each recorded once, whatever becomes of the workers."""

import asyncio
import errno
import os
import subprocess
import sys
import threading
import tomllib
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text, update
from structlog.testing import capture_logs

from app.analysis import repository as records
from app.analysis.models import AnalysisRecord, Status
from app.audit.models import EventType
from app.crew import Crew
from app.database import Database
from app.detectors.registry import ModelRegistry
from app.detectors.source import DummySource
from app.errors import QueueFullError, StorageFullError
from app.identity.user import Role, User
from app.jobs import entry
from app.jobs import repository as jobs
from app.jobs.queue import PostgresQueue
from app.jobs.worker import JobWorker, WorkerOptions, repeat
from app.metrics import Metrics
from app.runs import service as runs
from app.runs.queue import Claim, LocalQueue, Priority
from earwitness.dummy import DummyDetector

TESTER = User("tester", Role.ADMIN)
CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
DECLARED = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]["entry-points"]
ENTRY_POINT = "import sys; from {} import {} as command; sys.exit(command([]))".format(
    *DECLARED["earwitness.commands"]["worker"].split(":")
)
OPTIONS = WorkerOptions(
    concurrency=1,
    heartbeat=timedelta(seconds=0.2),
    lost_after=timedelta(seconds=1),
    grace=timedelta(seconds=1),
)

PATIENCE_S = 30.0

MakeClient = Callable[..., TestClient]
Upload = Callable[..., str]
WaitUntil = Callable[[Callable[[], bool]], None]


@pytest.fixture
def database(make_url: Any) -> Iterator[Database]:
    database = Database(make_url("postgresql"))
    yield database
    database.close()


@pytest.fixture
def queue(database: Database) -> Iterator[PostgresQueue]:
    queue = PostgresQueue(database, max_waiting=100, lost_after_s=30.0, worker=None)
    yield queue
    queue.close()


@pytest.fixture
def new_id(database: Database, new_record: Any) -> Callable[[], uuid.UUID]:
    def make() -> uuid.UUID:
        record: AnalysisRecord = new_record()
        with database.write() as session:
            records.add(session, record)
        return record.id

    return make


def request(database: Database, queue: PostgresQueue, analysis_id: uuid.UUID, priority: Priority) -> uuid.UUID:
    with database.write() as session:
        run_id = runs.request_run(session, TESTER, analysis_id)
        queue.enqueue(session, analysis_id, run_id, priority)
    return run_id


def test_a_run_and_its_job_are_committed_together_or_not_at_all(
    database: Database, queue: PostgresQueue, new_id: Any
) -> None:
    analysis_id = new_id()
    with pytest.raises(RuntimeError), database.write() as session:
        queue.enqueue(session, analysis_id, runs.request_run(session, TESTER, analysis_id), Priority.ASYNC)
        raise RuntimeError
    with database.read() as session:
        assert (jobs.depth(session), records.get(session, analysis_id).status) == (0, Status.UPLOADED)  # type: ignore[union-attr]
    request(database, queue, analysis_id, Priority.ASYNC)
    assert queue.depth() == 1


def test_the_more_urgent_run_is_begun_first_by_workers(
    database: Database, queue: PostgresQueue, new_id: Any, wait_until: WaitUntil
) -> None:
    begun: list[uuid.UUID] = []
    wanted = [request(database, queue, new_id(), priority) for priority in (Priority.BATCH, Priority.ASYNC)]
    wanted.append(request(database, queue, new_id(), Priority.INTERACTIVE))

    def perform(analysis_id: uuid.UUID, run_id: uuid.UUID, _claim: object) -> None:
        begun.append(run_id)
        with database.write() as session:  # ended, or the look of a starting worker takes it for one without a job
            record = records.get(session, analysis_id)
            assert record is not None
            record.status = Status.DONE

    seldom = replace(OPTIONS, heartbeat=timedelta(minutes=1), lost_after=timedelta(minutes=2))
    worker = JobWorker(database, perform, lambda: None, seldom)
    worker.start()
    wait_until(lambda: len(begun) >= 3)
    worker.close()
    assert begun == wanted[::-1]


class Disk:
    """Of a host that has room, or has none."""

    def __init__(self) -> None:
        self.full = True
        self.asked = 0

    def check_room(self) -> None:
        self.asked += 1
        if self.full:
            raise StorageFullError("there is no room")


def test_a_worker_without_room_takes_no_run_until_it_has_room_again(
    database: Database, queue: PostgresQueue, new_id: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.worker.FETCH_POLL_S", 0.05)
    attempts: list[int] = []
    disk = Disk()

    def perform(_analysis_id: uuid.UUID, _run_id: uuid.UUID, claim: Claim) -> None:
        attempts.append(claim.attempt)

    seldom = replace(OPTIONS, heartbeat=timedelta(minutes=1), lost_after=timedelta(minutes=2))
    worker = JobWorker(database, perform, lambda: None, seldom, disk.check_room)
    with capture_logs() as logs, closing(worker):
        worker.start()
        wait_until(lambda: disk.asked > 0)
        request(database, queue, new_id(), Priority.INTERACTIVE)
        asked = disk.asked
        wait_until(lambda: disk.asked > asked + 3)
        assert (attempts, worker.takes_runs, worker.died) == ([], False, False)
        with database.read() as session:
            assert session.execute(text("SELECT status, attempts FROM procrastinate_jobs")).all() == [("todo", 0)]
        disk.full = False
        wait_until(lambda: attempts == [1])
        assert worker.takes_runs
    told = [line["event"] for line in logs if line["event"].startswith("takes_")]
    assert told == ["takes_no_runs", "takes_runs_again"], "once each, however often it looked"


def test_a_worker_that_put_a_run_off_leaves_the_next_one_to_others_for_a_while(
    database: Database, queue: PostgresQueue, new_id: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would draw the whole queue to itself, and put off all of it."""
    monkeypatch.setattr("app.jobs.worker.FETCH_POLL_S", 0.05)
    monkeypatch.setattr("app.jobs.worker.REST_SHARE", 0.1)  # minutes, however busy the machine is
    begun: dict[str, list[uuid.UUID]] = {"here": [], "elsewhere": []}
    first = request(database, queue, new_id(), Priority.INTERACTIVE)
    rest = [request(database, queue, new_id(), Priority.ASYNC) for _ in range(3)]

    def put_off(_analysis_id: uuid.UUID, run_id: uuid.UUID, claim: Claim) -> None:
        begun["here"].append(run_id)
        assert claim.put_off is not None
        with database.write() as session:
            claim.put_off(session)

    def do(_analysis_id: uuid.UUID, run_id: uuid.UUID, _claim: Claim) -> None:
        begun["elsewhere"].append(run_id)

    seldom = replace(OPTIONS, heartbeat=timedelta(minutes=1), lost_after=timedelta(minutes=2))
    here = JobWorker(database, put_off, lambda: None, seldom)
    elsewhere = JobWorker(database, do, lambda: None, seldom)
    with closing(here), closing(elsewhere):
        here.start()
        wait_until(lambda: len(begun["here"]) >= 1)
        elsewhere.start()
        wait_until(lambda: set(begun["elsewhere"]) >= set(rest))
    assert begun["here"] == [first]


def test_runs_that_are_put_off_again_and_again_hold_up_no_other(
    database: Database, queue: PostgresQueue, new_id: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four that the bucket refuses, each due again before the others' rests are over, and more urgent than a batch."""
    monkeypatch.setattr("app.jobs.worker.FETCH_POLL_S", 0.05)
    monkeypatch.setattr(entry, "PUT_OFF", timedelta(seconds=0.6))
    refused = {request(database, queue, new_id(), Priority.INTERACTIVE) for _ in range(4)}
    batch = {request(database, queue, new_id(), Priority.BATCH) for _ in range(6)}
    begun: list[uuid.UUID] = []

    def perform(_analysis_id: uuid.UUID, run_id: uuid.UUID, claim: Claim) -> None:
        begun.append(run_id)
        if run_id in refused:
            assert claim.put_off is not None
            with database.write() as session:
                claim.put_off(session)

    worker = JobWorker(database, perform, lambda: None, OPTIONS)
    with closing(worker):
        worker.start()
        wait_until(lambda: batch <= set(begun))
        wait_until(lambda: len(begun) > len(batch) + 3 * len(refused))


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (StorageFullError("no room"), "make room"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "make room"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "start the worker again"),
    ],
    ids=["full", "quota", "gone"],
)
def test_a_worker_that_takes_no_runs_says_what_to_do(database: Database, error: Exception, advice: str) -> None:
    def check_room() -> None:
        raise error

    worker = JobWorker(database, lambda *_: None, lambda: None, OPTIONS, check_room)
    with capture_logs() as logs:
        assert not worker._wants_jobs()
        assert not worker._wants_jobs()
    (line,) = logs
    assert line["event"] == "takes_no_runs"
    assert advice in line["advice"]


def test_the_more_urgent_run_is_begun_first_in_one_process() -> None:
    begun: list[uuid.UUID] = []
    go = threading.Event()

    def perform(_analysis_id: uuid.UUID, run_id: uuid.UUID) -> None:
        go.wait(60)
        begun.append(run_id)

    queue = LocalQueue(perform, lambda: None, workers=1, max_waiting=9, grace=timedelta(0))
    ids = [uuid.uuid4() for _ in range(5)]
    order = (Priority.BATCH, Priority.BATCH, Priority.ASYNC, Priority.INTERACTIVE, Priority.INTERACTIVE)
    queue.submit(uuid.uuid4(), ids[0], order[0])
    while queue.depth() and queue._waiting:  # until the thread has it
        pass
    for run_id, priority in list(zip(ids, order, strict=True))[1:]:
        queue.submit(uuid.uuid4(), run_id, priority)
    outcomes = [queue.outcome(run_id) for run_id in ids]
    go.set()
    for outcome in outcomes:
        outcome.result(60)
    queue.close()
    assert begun == [ids[0], ids[3], ids[4], ids[2], ids[1]]


def test_the_limit_of_waiting_runs_holds_over_all_hosts(database: Database, new_id: Any) -> None:
    hosts = [PostgresQueue(database, max_waiting=5, lost_after_s=30.0, worker=None) for _ in range(2)]
    ids = [new_id() for _ in range(20)]

    def ask(number: int) -> None:
        with suppress(QueueFullError):
            request(database, hosts[number % 2], ids[number], Priority.ASYNC)

    with ThreadPoolExecutor(10) as threads:
        list(threads.map(ask, range(20)))
    assert hosts[0].depth() == 5
    with database.read() as session:
        queued = records.RecordFilter(status=Status.QUEUED)
        assert records.page(session, queued, limit=20, offset=0)[1] == 5
    for host in hosts:
        host.close()


def test_who_waits_hears_of_the_end_wherever_it_came_from(
    database: Database, queue: PostgresQueue, new_id: Any, new_run: Any
) -> None:
    run_id = request(database, queue, new_id(), Priority.INTERACTIVE)
    early = queue.outcome(run_id)
    with database.write() as session:
        record = records.page(session, records.RecordFilter(), limit=1, offset=0)[0][0]
        session.add(new_run(record, id=run_id))
        jobs.announce(session, run_id)
    assert early.result(30) is None
    assert queue.outcome(run_id).result(30) is None  # its notification is gone: looked up


@pytest.fixture
def service(make_client: MakeClient) -> TestClient:
    """A service without workers of its own."""
    return make_client(kind="postgresql", workers=0, run_wait=timedelta(seconds=0.2))


@pytest.fixture
def crew(service: TestClient) -> Iterator[Crew]:
    """What a worker elsewhere has, on the service's database and evidence; nobody gives it work."""
    state = service.app.state.service  # type: ignore[attr-defined]
    crew = Crew(
        state.settings.model_copy(update={"workers": 2}),
        state.database,
        store=state.store,
        models=ModelRegistry(DummySource(DummyDetector(delay_s=0.5))),
        policy=state.action_policy,
        metrics=Metrics(),
    )
    yield crew
    assert crew.pool is not None
    crew.pool.close()


def asked(service: TestClient, upload: Upload) -> tuple[uuid.UUID, uuid.UUID]:
    """A run that waits: ids of its analysis and its own."""
    analysis_id = upload(service)
    record = service.post(f"/v1/analysis/{analysis_id}/run", headers={"Prefer": "respond-async"}).json()
    assert record["status"] == "QUEUED"
    return uuid.UUID(analysis_id), uuid.UUID(record["run_id"])


def claim(attempt: int = 1) -> Claim:
    return Claim(attempt, hand_back=lambda _: None, put_off=None, announce=lambda _: None)


def test_who_waits_hears_of_the_end_whatever_came_before(
    database: Database, queue: PostgresQueue, new_record: Any, new_run: Any, wait_until: WaitUntil
) -> None:
    record = new_record()
    run = new_run(record)
    ended = queue.outcome(run.id)
    with capture_logs() as logs:
        with database.write() as session:
            session.execute(text("NOTIFY earwitness_run_ended, 'x'"))
        wait_until(lambda: {"notice_ignored"} <= {entry["event"] for entry in logs})
        with database.write() as session:  # what the listener looks at is gone for a moment
            session.execute(text("ALTER TABLE detector_runs RENAME TO away"))
        wait_until(lambda: {("outcomes_not_heard", "error")} <= {(e["event"], e["log_level"]) for e in logs})
        with database.write() as session:
            session.execute(text("ALTER TABLE away RENAME TO detector_runs"))
    with database.write() as session:
        records.add(session, record)
        session.add(run)
    assert ended.result(PATIENCE_S) is None


def test_without_a_worker_runs_are_accepted_and_readiness_says_why_they_wait(
    service: TestClient, upload: Upload
) -> None:
    analysis_id = upload(service)
    answer = service.post(f"/v1/analysis/{analysis_id}/run")
    assert (answer.status_code, answer.json()["code"]) == (504, "run_wait")
    assert service.get(f"/v1/analysis/{analysis_id}").json()["status"] == "QUEUED"
    assert service.post(f"/v1/analysis/{analysis_id}/run").json()["code"] == "run_under_way"
    ready = service.get("/ready")
    assert (ready.status_code, ready.json()["checks"]["queue"]) == (503, "no worker is alive")


def test_a_worker_taken_for_dead_that_lives_on_does_not_record_a_second_outcome(
    service: TestClient, crew: Crew, upload: Upload
) -> None:
    analysis_id, run_id = asked(service, upload)
    with ThreadPoolExecutor(2) as threads:
        ends = [threads.submit(crew.runner.perform, analysis_id, run_id, claim(n)) for n in (1, 2)]
    assert [end.result() is None for end in ends].count(True) == 1
    assert len(service.get(f"/v1/analysis/{analysis_id}/runs").json()["items"]) == 1
    events = service.get(f"/v1/analysis/{analysis_id}/events").json()["items"]
    assert [event["event_type"] for event in events].count(EventType.RUN_DONE) == 1


def test_a_run_at_which_several_workers_died_is_given_up(service: TestClient, crew: Crew, upload: Upload) -> None:
    analysis_id, run_id = asked(service, upload)
    crew.runner.perform(analysis_id, run_id, claim(crew.settings.run_attempts + 1))
    record = service.get(f"/v1/analysis/{analysis_id}").json()
    assert (record["status"], record["failure_code"]) == ("FAILED", "worker_crash")
    assert "3 workers died" in record["failure_message"]


@pytest.mark.parametrize("left", [Status.QUEUED, Status.RUNNING])
def test_a_run_that_no_job_stands_for_is_done(
    service: TestClient, crew: Crew, upload: Upload, wait_until: WaitUntil, left: Status
) -> None:
    analysis_id, _ = asked(service, upload)
    with crew.database.write() as session:
        session.execute(text("DELETE FROM procrastinate_jobs"))
        session.execute(update(AnalysisRecord).values(status=left))
    worker = crew.job_worker()
    worker.start()
    wait_until(lambda: service.get(f"/v1/analysis/{analysis_id}").json()["status"] == "DONE")
    worker.close()


def test_a_stopped_worker_hands_back_what_exceeds_its_grace(
    make_client: MakeClient, make_url: Any, upload: Upload, wait_until: WaitUntil, tmp_path: Path
) -> None:
    same: dict[str, Any] = {"database_url": make_url("postgresql"), "evidence_dir": tmp_path / "store"}
    client = make_client(shutdown_grace=timedelta(seconds=0.2), run_attempts=1, **same)
    analysis_id = upload(client, "hang-1.wav")
    client.post(f"/v1/analysis/{analysis_id}/run", headers={"Prefer": "respond-async"})
    wait_until(lambda: client.get(f"/v1/analysis/{analysis_id}").json()["status"] == "RUNNING")
    client.__exit__(None, None, None)
    again = make_client(detector=DummySource(), run_attempts=1, **same)
    wait_until(lambda: again.get(f"/v1/analysis/{analysis_id}").json()["status"] == "DONE")


def test_after_every_connection_was_cut_runs_are_done_and_heard_of_as_before(
    make_client: MakeClient, make_url: Any, upload: Upload
) -> None:
    url = make_url("postgresql")
    client = make_client(database_url=url)
    analysis_id = upload(client)
    assert client.post(f"/v1/analysis/{analysis_id}/run").status_code == 200
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(CUT)
    assert client.post(f"/v1/analysis/{analysis_id}/run").status_code == 200
    assert client.get("/ready").json()["checks"]["queue"] == "ok"


@pytest.mark.parametrize(
    ("as_module", "setting", "complaint"),
    [
        (True, {}, "workers take their runs from PostgreSQL"),
        (False, {"EARWITNESS_DATABASE_URL": "postgresql:///x", "EARWITNESS_WORKERS": "0"}, "EARWITNESS_WORKERS=0"),
    ],
)
def test_the_worker_command_says_what_it_needs(
    as_module: bool, setting: dict[str, str], complaint: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "app", "worker"] if as_module else [sys.executable, "-c", ENTRY_POINT]
    environment = {**os.environ, "EARWITNESS_DATABASE_URL": f"sqlite:///{tmp_path}/x.db", **setting}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert f"\nearwitness: {complaint}" in f"\n{done.stderr}"


def test_a_cancellation_that_is_lost_does_not_make_what_is_repeated_go_on_for_ever() -> None:
    """Nobody would take runs any more: that is how a worker stood still after its database had been away."""

    async def scene() -> None:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ended = asyncio.Event()

        async def deed() -> None:
            await asyncio.wait_for(answer, timeout=PATIENCE_S)

        task = asyncio.create_task(repeat(deed, timedelta(milliseconds=1), ended))
        await asyncio.sleep(0)
        answer.set_result(None)  # and in the same turn of the loop:
        ended.set()
        task.cancel()
        _, pending = await asyncio.wait([task], timeout=PATIENCE_S)
        assert not pending

    asyncio.run(scene())


def test_what_is_repeated_is_done_again_until_it_is_to_end() -> None:
    async def scene() -> int:
        times = 0
        ended = asyncio.Event()

        async def deed() -> None:
            nonlocal times
            times += 1
            if times == 3:
                ended.set()

        await asyncio.wait_for(repeat(deed, timedelta(milliseconds=1), ended), PATIENCE_S)
        return times

    assert asyncio.run(scene()) == 3
