"""Hearing of the end of runs, whichever host carried them out.

    outcomes = Outcomes(database)
    outcomes.of(run_id).result()      # None, once the run's row is there
    outcomes.close()

The transaction that records an outcome notifies; one thread listens for all who wait. A notification can be missed
(a run that ended before anybody waited, a lost connection), so those waited for are also looked up every POLL_S.
"""

import threading
import time
import uuid
from concurrent.futures import Future

import psycopg
import structlog

from app.analysis.models import AnalysisRecord
from app.database import DATABASE_AWAY, Database
from app.errors import ShuttingDownError
from app.jobs import repository
from app.threads import wait_for_end

POLL_S = 0.5  # the longest that an outcome stays unnoticed; one look-up by primary key, only while somebody waits
RECONNECT_S = 1.0
LOGGED_CHARACTERS = 64  # of a notice that names no run: enough to see what it is, of up to 8,000

log = structlog.get_logger(__name__)

Ended = Future[AnalysisRecord | None]


class Outcomes:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._waited_for: dict[uuid.UUID, list[Ended]] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="outcomes", daemon=True)
        self._thread.start()

    def of(self, run_id: uuid.UUID) -> Ended:
        future: Ended = Future()
        future.set_running_or_notify_cancel()  # who waits may go away, but must not cancel it for this thread
        with self._lock:
            if self._closing.is_set():
                future.set_exception(_stopping())
            else:
                self._waited_for.setdefault(run_id, []).append(future)
        return future

    def close(self) -> None:
        """Whoever still waits is told that this process stops; the runs go on elsewhere."""
        self._closing.set()
        wait_for_end(self._thread)
        with self._lock:
            left = [future for futures in self._waited_for.values() for future in futures]
            self._waited_for.clear()
        for future in left:
            future.set_exception(_stopping())

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                with psycopg.connect(self._database.libpq_url, autocommit=True) as connection:
                    repository.listen(connection)
                    self._hear(connection)
            except (psycopg.OperationalError, *DATABASE_AWAY) as error:
                log.warning("outcomes_not_heard", error=str(error))
            except Exception:  # without this thread nobody who waits would ever hear of an end
                log.exception("outcomes_not_heard")
            self._closing.wait(RECONNECT_S)

    def _hear(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        next_look_s = time.monotonic()
        while not self._closing.is_set():
            for notice in connection.notifies(timeout=POLL_S, stop_after=1):
                self._heard(notice.payload)
            if time.monotonic() >= next_look_s:
                self._look_up()
                next_look_s = time.monotonic() + POLL_S

    def _heard(self, payload: str) -> None:
        try:
            run_id = uuid.UUID(payload)
        except ValueError:  # whoever may connect to the database may notify
            log.warning("notice_ignored", payload=payload[:LOGGED_CHARACTERS])
        else:
            self._tell(run_id)

    def _look_up(self) -> None:
        with self._lock:
            waited_for = list(self._waited_for)
        if waited_for:
            with self._database.read() as session:
                for run_id in repository.settled(session, waited_for):
                    self._tell(run_id)

    def _tell(self, run_id: uuid.UUID) -> None:
        with self._lock:
            futures = self._waited_for.pop(run_id, [])
        for future in futures:
            future.set_result(None)


def _stopping() -> ShuttingDownError:
    return ShuttingDownError("the service is stopping; the run goes on: ask for its record later")
