"""Taking jobs from the queue in PostgreSQL and carrying them out: what `earwitness worker` does, and the service too.

    worker = JobWorker(database, runner.perform, workers.close, options)
    worker.start()
    ...
    worker.close()          # what does not end within its grace goes back into the queue

procrastinate fetches, locks, gives signs of life and takes note of ends, in a thread with an event loop of its own.
What is added here: who is silent for too long is taken for dead and its jobs are entered again (`app.jobs.rescue`); a
stopping worker goes on giving signs of life; a database that restarts is waited for; and a worker that has no room for
copies of evidence, or just put a run off, leaves the jobs to others (docs/adr/0063).
"""

import asyncio
import contextlib
import math
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import procrastinate
import psycopg
import psycopg_pool
import structlog
from procrastinate import JobContext, RetryStrategy
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job
from procrastinate.manager import JobManager
from procrastinate.worker import Worker
from sqlalchemy.orm import Session

from app.database import DATABASE_AWAY, Database
from app.errors import AppError, StorageFullError
from app.evidence.store import FULL_ERRNOS
from app.jobs import entry, repository
from app.jobs.entry import QUEUE, TASK
from app.jobs.rescue import rescue
from app.orm import utc_now
from app.runs.queue import Claim
from app.threads import wait_for_end

FETCH_POLL_S = 2.0  # a new job is notified; one that waited for its lock, or for its time, is found by this
RESTART_PAUSE_S = 1.0
MAKE_ROOM = "make room below EARWITNESS_EVIDENCE_DIR: then it takes runs again by itself"
MEND = "no file can be made in this worker's folder below EARWITNESS_EVIDENCE_DIR: mend that and start the worker again"
REST_SHARE = 3
"""Of the time for which a run is put off, a worker that put one off takes no other for one part in so many: it draws no
whole queue away from workers that could do it. Then it takes runs for as long as one waits, whatever it puts off
meanwhile: or a few that do not fit here would hold up all others."""
RETRIES = RetryStrategy(wait=5, linear_wait=5)  # seconds, after a failure to record: the database stayed away
CONNECTIONS = 4  # fetch, sign of life, end, rescue; one more, outside the pool, listens
LOOKUP_THREADS = 4  # the event loop's own, beside those that wait for runs: names of hosts are looked up there
LOST = (ConnectorException, psycopg.Error, psycopg_pool.PoolTimeout, OSError, *DATABASE_AWAY)

Perform = Callable[[uuid.UUID, uuid.UUID, Claim], object]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    concurrency: int
    """Runs at the same time."""
    heartbeat: timedelta
    """How often a sign of life is given."""
    lost_after: timedelta
    """How long a worker may be silent before its runs are given to others."""
    grace: timedelta


async def repeat(deed: Callable[[], Awaitable[None]], every: timedelta, ended: asyncio.Event) -> None:
    """Do `deed` now and then `every` so often, until `ended` is set.

    To be cancelled alone would not do: in Python before 3.12 a cancellation is lost where `asyncio.wait_for` takes it
    just as what it waits for is done (the pool of connections waits so), and who then waits for this waits for ever.
    """
    while not ended.is_set():
        await deed()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), every.total_seconds())


class _WantedJobs(JobManager):
    """The queue's jobs, while its worker wants any."""

    def __init__(self, connector: procrastinate.PsycopgConnector, wanted: Callable[[], bool]) -> None:
        super().__init__(connector)
        self._wanted = wanted

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        """None also where no job is wanted now: the worker asks again with the next job, or in FETCH_POLL_S."""
        if not await asyncio.to_thread(self._wanted):  # it asks the disk, which may be slow
            return None
        return await super().fetch_job(queues, worker_id)


class JobWorker:
    def __init__(
        self,
        database: Database,
        perform: Perform,
        interrupt: Callable[[], None],
        options: WorkerOptions,
        check_room: Callable[[], None] | None = None,
    ) -> None:
        """`perform` carries out one run; `interrupt` makes those under way end at once, to be handed back.

        `check_room` raises AppError or OSError while this host has no room for a run; None: a run needs none.
        """
        self._database = database
        self._perform = perform
        self._interrupt = interrupt
        self._options = options
        self._check_room = check_room
        self._has_room = True  # as it was found before the last job
        self._rests_until_s = -math.inf  # on the monotonic clock
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: Worker | None = None
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._grace_end_s: float | None = None  # on the monotonic clock
        self._sign_of_life_s = 0.0  # the last that the database took, on that clock

    @property
    def takes_runs(self) -> bool:
        """Whether others take it for alive, it has room, and it does not stop."""
        silent_s = time.monotonic() - self._sign_of_life_s
        registered = self._worker is not None and self._worker.worker_id is not None
        alive = registered and silent_s < self._options.lost_after.total_seconds()
        return alive and self._has_room and not self._stopping.is_set()

    @property
    def died(self) -> bool:
        """True where its loop ended although nobody stopped it."""
        return self._ended.is_set() and not self._stopping.is_set()

    def start(self) -> None:
        self._thread.start()

    def begin_grace(self) -> None:
        """Take no more jobs; what is under way has the grace to end in."""
        if self._grace_end_s is None:
            self._grace_end_s = time.monotonic() + self._options.grace.total_seconds()
        self._stopping.set()
        worker = self._worker
        if worker is not None:
            worker.stop()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self.begin_grace()
        assert self._grace_end_s is not None
        self._ended.wait(max(0.0, self._grace_end_s - time.monotonic()))
        self._interrupt()
        wait_for_end(self._thread)

    def _work(self) -> None:
        try:
            asyncio.run(self._work_on())
        finally:
            self._ended.set()

    async def _work_on(self) -> None:
        loop = asyncio.get_running_loop()
        threads = ThreadPoolExecutor(self._options.concurrency + LOOKUP_THREADS, thread_name_prefix="run")
        loop.set_default_executor(threads)
        while not self._stopping.is_set():
            try:
                await self._work_until_lost()
            except LOST as error:
                log.warning("queue_away", error=str(error))
            await asyncio.to_thread(self._stopping.wait, RESTART_PAUSE_S)

    async def _work_until_lost(self) -> None:
        connector = procrastinate.PsycopgConnector(
            conninfo=self._database.libpq_url, min_size=1, max_size=CONNECTIONS, name="jobs"
        )
        app = procrastinate.App(connector=connector)
        app.job_manager = _WantedJobs(connector, self._wants_jobs)
        app.task(name=TASK, queue=QUEUE, pass_context=True, retry=RETRIES)(self._run)
        async with app.open_async():
            self._sign_of_life_s = time.monotonic()
            worker = Worker(
                app,
                queues=[QUEUE],
                concurrency=self._options.concurrency,
                fetch_job_polling_interval=FETCH_POLL_S,
                delete_jobs="successful",  # the record and its run say what was; what failed stays to be looked at
                install_signal_handlers=False,
                update_heartbeat_interval=self._options.heartbeat.total_seconds(),
                stalled_worker_timeout=self._options.lost_after.total_seconds(),
            )
            self._worker = worker
            ended = asyncio.Event()
            beside = asyncio.create_task(
                repeat(partial(self._beside, app, connector, worker), self._options.heartbeat, ended)
            )
            try:
                if self._stopping.is_set():  # set before the worker could be told
                    return
                await worker.run()  # type: ignore[no-untyped-call]
            finally:
                self._worker = None
                ended.set()
                beside.cancel()
                with contextlib.suppress(asyncio.CancelledError, *LOST):
                    await beside

    async def _beside(
        self, app: procrastinate.App, connector: procrastinate.PsycopgConnector, worker: Worker
    ) -> None:
        """Enter again what others died at; and give signs of life also while the worker waits for its last runs."""
        try:
            if worker.worker_id is not None:
                await app.job_manager.update_heartbeat(worker.worker_id)
                self._sign_of_life_s = time.monotonic()
            if not self._stopping.is_set():
                await rescue(self._database, connector, app.job_manager, self._options.lost_after.total_seconds())
        except LOST as error:
            log.warning("queue_away", error=str(error))

    def _wants_jobs(self) -> bool:
        if time.monotonic() < self._rests_until_s:
            return False
        had_room = self._has_room
        try:
            if self._check_room is not None:
                self._check_room()
        except (AppError, OSError) as error:
            self._has_room = False
            if had_room:  # once, not every FETCH_POLL_S
                full = isinstance(error, StorageFullError) or getattr(error, "errno", None) in FULL_ERRNOS
                log.warning("takes_no_runs", error=str(error), advice=MAKE_ROOM if full else MEND)
            return False
        self._has_room = True
        if not had_room:
            log.info("takes_runs_again")
        return True

    def _rest(self) -> None:
        now_s, waits_s = time.monotonic(), entry.PUT_OFF.total_seconds()
        if now_s - self._rests_until_s >= waits_s:
            self._rests_until_s = now_s + waits_s / REST_SHARE

    def _run(self, context: JobContext, analysis_id: str, run_id: str, put_off_since: str | None = None) -> None:
        job = context.job
        of_run = (uuid.UUID(analysis_id), uuid.UUID(run_id))
        now = utc_now()
        since = None if put_off_since is None else datetime.fromisoformat(put_off_since)
        enter = partial(entry.enter, analysis_id=of_run[0], run_id=of_run[1], priority=job.priority)

        def put_off(session: Session) -> None:
            enter(session, delay=entry.PUT_OFF, put_off_since=since or now)
            self._rest()

        claim = Claim(
            attempt=job.attempts + 1,
            hand_back=partial(enter, put_off_since=since),
            put_off=put_off if now - (since or now) < entry.PUT_OFF_AT_MOST else None,
            announce=partial(repository.announce, run_id=of_run[1]),
        )
        try:
            self._perform(*of_run, claim)
        except BaseException as error:
            log.error("run_not_recorded", analysis_id=analysis_id, run_id=run_id, exc_info=error)
            raise
