"""Who carries out the runs that were accepted: the seam between a request and whoever does the work.

    with database.write() as session:
        run_id = service.request_run(session, user, analysis_id)
        queue.enqueue(session, analysis_id, run_id, priority)     # the same transaction, or neither
    queue.submit(analysis_id, run_id, priority)                   # it is committed: off it goes
    queue.outcome(run_id).result()                                # for whoever waits for it

`LocalQueue` does the work in this process; `app.jobs` hands it to any number of hosts through PostgreSQL. Code above
does not know which. Nothing here knows how a run is done.
"""

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum, StrEnum
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

import structlog
from sqlalchemy.orm import Session

from app.analysis.models import AnalysisRecord
from app.errors import QueueFullError, ShuttingDownError

POLL_S = 0.05

log = structlog.get_logger(__name__)


class Priority(IntEnum):
    """The higher one is begun first; of equal ones the older."""

    BATCH = 0
    ASYNC = 10
    INTERACTIVE = 20


class PriorityName(StrEnum):
    """As requests write it."""

    BATCH = "batch"
    ASYNC = "async"
    INTERACTIVE = "interactive"

    @property
    def priority(self) -> Priority:
        return Priority[self.name]


class JobQueue(Protocol):
    def enqueue(self, session: Session, analysis_id: uuid.UUID, run_id: uuid.UUID, priority: Priority) -> None:
        """Put the run into the queue, within the transaction that makes its record QUEUED.

        Raises QueueFullError where no more runs should be accepted, ShuttingDownError.
        """
        ...

    def submit(self, analysis_id: uuid.UUID, run_id: uuid.UUID, priority: Priority) -> None:
        """That transaction is committed: have the run carried out. Raises ShuttingDownError."""
        ...

    def outcome(self, run_id: uuid.UUID) -> Future[AnalysisRecord | None]:
        """Ends when the outcome of a submitted run stands in the database.

        It may give the record with that outcome; with None the database has to be asked. Ends with ShuttingDownError
        where this process stops before.
        """
        ...

    def check_able(self) -> None:
        """Raises QueueFullError, or NoWorkersError where nobody would carry a run out."""
        ...

    def depth(self) -> int:
        """Runs that wait or are under way."""
        ...

    def begin_grace(self) -> None:
        """The service begins to stop: from now on the grace of what is under way passes, before `close` already."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Claim:
    """How a run came to the worker that carries it out now, where it may have been another's before.

    The queue gives a run to one worker at a time, so whoever began it before is stopped, or taken for dead.
    """

    attempt: int
    """1 the first time; more where workers died at it."""
    hand_back: Callable[[Session], None]
    """Put the run back into the queue, within the transaction that makes its record QUEUED again."""
    put_off: Callable[[Session], None] | None
    """As `hand_back`, to be begun a little later; None where it was put off for as long as a run may be."""
    announce: Callable[[Session], None]
    """Tell those who wait for it that it ended, once the session's transaction is committed."""


@dataclass(order=True, slots=True)
class _Waiting:
    rank: tuple[int, int]
    analysis_id: uuid.UUID = field(compare=False)
    run_id: uuid.UUID = field(compare=False)
    future: Future[AnalysisRecord | None] = field(compare=False)


class LocalQueue:
    """Threads of this process, as many as there are worker processes; each waits for one worker at a time.

    The database says which runs wait (status QUEUED): what is forgotten when this process dies, the next start
    submits again.
    """

    def __init__(
        self,
        perform: Callable[[uuid.UUID, uuid.UUID], AnalysisRecord | None],
        interrupt: Callable[[], None],
        *,
        workers: int,
        max_waiting: int,
        grace: timedelta,
    ) -> None:
        """`perform` carries out one run; `interrupt` makes those under way end at once."""
        self._perform = perform
        self._interrupt = interrupt
        self._max_waiting = max_waiting
        self._grace = grace
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="run")
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []  # a heap
        self._order = count()
        self._futures: dict[uuid.UUID, Future[AnalysisRecord | None]] = {}  # of all that has not ended
        self._closed = False
        self._grace_end_s: float | None = None  # on the monotonic clock

    def enqueue(
        self,
        session: Session,  # noqa: ARG002  the record's own row, QUEUED, is its place in this queue
        analysis_id: uuid.UUID,  # noqa: ARG002
        run_id: uuid.UUID,  # noqa: ARG002
        priority: Priority,  # noqa: ARG002
    ) -> None:
        if self._closed:
            raise ShuttingDownError("the service is stopping: try again later")
        self.check_able()

    def submit(self, analysis_id: uuid.UUID, run_id: uuid.UUID, priority: Priority) -> None:
        future: Future[AnalysisRecord | None] = Future()
        with self._lock:
            if self._closed:
                raise ShuttingDownError("the service is stopping; the run stays queued until its restart")
            heappush(self._waiting, _Waiting((-priority, next(self._order)), analysis_id, run_id, future))
            self._futures[run_id] = future
            self._threads.submit(self._perform_most_urgent)

    def outcome(self, run_id: uuid.UUID) -> Future[AnalysisRecord | None]:
        future = self._futures.get(run_id)
        if future is None:  # it has ended already
            future = Future()
            future.set_result(None)
        return future

    def check_able(self) -> None:
        if self.depth() >= self._max_waiting:
            raise QueueFullError(f"{self.depth()} runs are waiting already: try again later")

    def depth(self) -> int:
        return len(self._futures)

    def begin_grace(self) -> None:
        if self._grace_end_s is None:
            self._grace_end_s = time.monotonic() + self._grace.total_seconds()

    def close(self) -> None:
        """Give what is under way the rest of its grace, then interrupt it; what waits stays QUEUED in the database."""
        self.begin_grace()
        assert self._grace_end_s is not None
        with self._lock:
            self._closed = True
            abandoned, self._waiting = self._waiting, []
        self._threads.shutdown(wait=False, cancel_futures=True)
        for job in abandoned:
            del self._futures[job.run_id]
            job.future.set_exception(ShuttingDownError("the service is stopping; the run stays queued"))
        while self._futures and time.monotonic() < self._grace_end_s:
            time.sleep(POLL_S)
        self._interrupt()
        self._threads.shutdown(wait=True)

    def _perform_most_urgent(self) -> None:
        with self._lock:
            if not self._waiting:
                return  # closed meanwhile
            job = heappop(self._waiting)
        try:
            record = self._perform(job.analysis_id, job.run_id)
        except BaseException as error:  # whoever asked need not read the future, and then nobody would know
            log.error("run_not_recorded", analysis_id=str(job.analysis_id), run_id=str(job.run_id), exc_info=error)
            self._end(job).set_exception(error)
        else:
            self._end(job).set_result(record)

    def _end(self, job: _Waiting) -> Future[AnalysisRecord | None]:
        with self._lock:
            return self._futures.pop(job.run_id)
