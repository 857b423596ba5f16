"""Runs whose worker is no more, given to others.

A worker that was silent for too long is taken for dead, whatever it is: killed, cut off, or stopped by its host. Where
it lives on, it may even end its run; the first outcome that is recorded stands, and the other is dropped.
"""

import asyncio
import contextlib

import structlog
from procrastinate import PsycopgConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.manager import JobManager

from app.database import Database
from app.jobs import repository
from app.jobs.entry import QUEUE, enter
from app.runs.queue import Priority

log = structlog.get_logger(__name__)


async def rescue(database: Database, connector: PsycopgConnector, jobs: JobManager, lost_after_s: float) -> None:
    """Enter again the jobs of workers that were silent for `lost_after_s`, and what no job stands for."""
    # One rescuer at a time, or a second one could take back what the first one's worker has just begun.
    async with connector.pool.connection() as connection:
        if not await repository.may_rescue(connection):
            return
        for job in await jobs.get_stalled_jobs(queue=QUEUE, seconds_since_heartbeat=lost_after_s):
            with contextlib.suppress(ConnectorException):  # it has just ended after all
                await jobs.retry_job(job)
                log.warning("run_of_lost_worker", job=job.id, died=job.attempts + 1, **job.task_kwargs)
        await jobs.prune_stalled_workers(lost_after_s)
        await asyncio.to_thread(_adopt, database)


def _adopt(database: Database) -> None:
    with database.write() as session:
        for record in repository.without_job(session):
            assert record.run_id is not None
            enter(session, record.id, record.run_id, Priority.ASYNC)
            log.warning("run_without_job", analysis_id=str(record.id), run_id=str(record.run_id))
