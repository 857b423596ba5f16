"""Who carries out the runs that were accepted. The seam at which a queue shared by several hosts will come in.

The database says which runs wait (status QUEUED): a queue may forget everything when it dies, and the next start
submits them again. Nothing here knows how a run is done.
"""

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Protocol

import structlog

from app.analysis.models import AnalysisRecord
from app.errors import QueueFullError, ShuttingDownError

POLL_S = 0.05

log = structlog.get_logger(__name__)


class JobQueue(Protocol):
    def submit(self, analysis_id: uuid.UUID, run_id: uuid.UUID) -> Future[AnalysisRecord | None]:
        """Have the run carried out; the future ends when its outcome stands in the database.

        It may give the record with that outcome; with None the database has to be asked. Raises ShuttingDownError.
        """
        ...

    def check_room(self) -> None:
        """Raises QueueFullError where no more runs should be accepted."""
        ...

    def depth(self) -> int:
        """Runs that wait or are under way here."""
        ...

    def begin_grace(self) -> None:
        """The service begins to stop: from now on the grace of what is under way passes, before `close` already."""
        ...

    def close(self) -> None: ...


class LocalQueue:
    """Threads of this process, as many as there are worker processes; each waits for one worker at a time."""

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
        self._depth = 0
        self._closed = False
        self._grace_end_s: float | None = None  # on the monotonic clock

    def submit(self, analysis_id: uuid.UUID, run_id: uuid.UUID) -> Future[AnalysisRecord | None]:
        with self._lock:
            if self._closed:
                raise ShuttingDownError("the service is stopping; the run stays queued until its restart")
            future = self._threads.submit(self._perform, analysis_id, run_id)
            self._depth += 1
        future.add_done_callback(partial(self._count_down, analysis_id, run_id))
        return future

    def check_room(self) -> None:
        if self._depth >= self._max_waiting:
            raise QueueFullError(f"{self._depth} runs are waiting already: try again later")

    def depth(self) -> int:
        return self._depth

    def begin_grace(self) -> None:
        if self._grace_end_s is None:
            self._grace_end_s = time.monotonic() + self._grace.total_seconds()

    def close(self) -> None:
        """Give what is under way the rest of its grace, then interrupt it; what waits stays QUEUED in the database."""
        self.begin_grace()
        assert self._grace_end_s is not None
        with self._lock:
            self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        while self._depth and time.monotonic() < self._grace_end_s:
            time.sleep(POLL_S)
        self._interrupt()
        self._threads.shutdown(wait=True)

    def _count_down(
        self, analysis_id: uuid.UUID, run_id: uuid.UUID, future: Future[AnalysisRecord | None]
    ) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None:  # whoever asked need not read the future, and then nobody would know
            log.error("run_not_recorded", analysis_id=str(analysis_id), run_id=str(run_id), exc_info=error)
        with self._lock:
            self._depth -= 1
