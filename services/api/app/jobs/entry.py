"""Entering a job into the queue in PostgreSQL, within a transaction of ours."""

import uuid

import procrastinate
import psycopg
from procrastinate.exceptions import ConnectorException
from sqlalchemy.orm import Session

from app.errors import DatabaseUnavailableError
from app.jobs import repository

QUEUE = "runs"
TASK = "run"

_app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())
"""Never opened: it is only given connections of our own."""


def enter(session: Session, analysis_id: uuid.UUID, run_id: uuid.UUID, priority: int) -> None:
    """There is never a record under way without its job, nor the reverse, since both are committed together.

    The job's lock is the run's id: of all jobs for one run only one is under way at a time.
    """
    job = _app.configure_task(
        TASK,
        queue=QUEUE,
        priority=priority,
        lock=str(run_id),
        connection=repository.driver_connection(session.connection()),
    )
    try:
        job.defer(analysis_id=str(analysis_id), run_id=str(run_id))
    except ConnectorException as error:
        if isinstance(error.__cause__, psycopg.OperationalError):
            raise DatabaseUnavailableError("the database is not available: try again later") from error
        raise
