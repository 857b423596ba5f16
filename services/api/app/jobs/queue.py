"""The queue in PostgreSQL, as the HTTP service uses it: enter a run, and hear of its end.

queue = PostgresQueue(database, max_waiting=1_000, lost_after_s=30.0, worker=JobWorker(...) or None)
"""

import uuid
from concurrent.futures import Future

from sqlalchemy.orm import Session

from app.analysis.models import AnalysisRecord
from app.database import Database
from app.errors import NoWorkersError, QueueFullError, ShuttingDownError
from app.jobs import repository
from app.jobs.entry import enter
from app.jobs.outcomes import Outcomes
from app.jobs.worker import JobWorker
from app.runs.queue import Priority


class PostgresQueue:
    """A `JobQueue`. Stops the process's own worker, where it has one, when it is closed."""

    def __init__(
        self, database: Database, *, max_waiting: int, lost_after_s: float, worker: JobWorker | None
    ) -> None:
        self._database = database
        self._max_waiting = max_waiting
        self._lost_after_s = lost_after_s
        self._worker = worker
        self._outcomes = Outcomes(database)
        self._closed = False

    def enqueue(self, session: Session, analysis_id: uuid.UUID, run_id: uuid.UUID, priority: Priority) -> None:
        """Exact over all hosts: the audit event of the request has let one such transaction at a time come here."""
        if self._closed:
            raise ShuttingDownError("the service is stopping: try again later")
        self._check_room(session)
        enter(session, analysis_id, run_id, priority)

    def submit(self, analysis_id: uuid.UUID, run_id: uuid.UUID, priority: Priority) -> None:
        """Its transaction has told the workers."""

    def outcome(self, run_id: uuid.UUID) -> Future[AnalysisRecord | None]:
        return self._outcomes.of(run_id)

    def check_able(self) -> None:
        with self._database.read() as session:
            self._check_room(session)
            if not repository.live_workers(session, self._lost_after_s):
                raise NoWorkersError("no worker is alive: start one with `earwitness worker`")

    def depth(self) -> int:
        with self._database.read() as session:
            return repository.depth(session)

    def begin_grace(self) -> None:
        if self._worker is not None:
            self._worker.begin_grace()

    def close(self) -> None:
        self._closed = True
        if self._worker is not None:
            self._worker.close()
        self._outcomes.close()

    def _check_room(self, session: Session) -> None:
        if repository.depth(session, at_most=self._max_waiting) >= self._max_waiting:
            raise QueueFullError(f"{self._max_waiting} runs are waiting already: try again later")
