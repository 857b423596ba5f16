"""Entering a job into the queue in PostgreSQL, within a transaction of ours."""

import uuid
from datetime import datetime, timedelta

import procrastinate
import psycopg
from procrastinate.exceptions import ConnectorException
from sqlalchemy.orm import Session

from app.errors import DatabaseUnavailableError
from app.jobs import repository

QUEUE = "runs"
TASK = "run"
PUT_OFF = timedelta(seconds=15)
"""How long a run waits whose evidence can't be had now: what only restarts is back by then."""
PUT_OFF_AT_MOST = timedelta(days=1)
"""How long a run is put off again and again before it ends with the outage as its code: time for an operator to see to
it, and no run waits for ever for a store that never comes back."""

_app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())
"""Never opened: it is only given connections of our own."""


def enter(
    session: Session,
    analysis_id: uuid.UUID,
    run_id: uuid.UUID,
    priority: int,
    *,
    delay: timedelta | None = None,
    put_off_since: datetime | None = None,
) -> None:
    """There is never a record under way without its job, nor the reverse, since both are committed together.

    The job's lock is the run's id: of all jobs for one run only one is under way at a time. `put_off_since` goes with
    the run through all its jobs, whose attempts are counted anew each time: it is what ends it.
    """
    job = _app.configure_task(
        TASK,
        queue=QUEUE,
        priority=priority,
        lock=str(run_id),
        schedule_in=None if delay is None else {"seconds": delay.total_seconds()},
        connection=repository.driver_connection(session.connection()),
    )
    since = {} if put_off_since is None else {"put_off_since": put_off_since.isoformat()}
    try:
        job.defer(analysis_id=str(analysis_id), run_id=str(run_id), **since)
    except ConnectorException as error:
        if isinstance(error.__cause__, psycopg.OperationalError):
            raise DatabaseUnavailableError("the database is not available: try again later") from error
        raise
