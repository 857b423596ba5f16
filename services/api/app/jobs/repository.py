"""All SQL around the queue's tables: what the queue library has no call for, or what must share a transaction.

The library's own tables and functions are named `procrastinate_...`; it is asked through its API wherever it has one.
"""

import uuid
from collections.abc import Collection, Sequence

import psycopg
from psycopg import sql
from sqlalchemy import Connection, column, func, select, text
from sqlalchemy.orm import Session

from app.analysis.models import UNDER_WAY, AnalysisRecord
from app.runs.models import DetectorRun

RUN_ENDED_CHANNEL = "earwitness_run_ended"
RESCUE_LOCK_ID = 0x65617272  # "earr" in ASCII
ADOPTED_AT_ONCE = 100  # a transaction stays short


def driver_connection(connection: Connection) -> "psycopg.Connection[tuple[object, ...]]":
    """The psycopg connection that a session's transaction is on."""
    found = connection.connection.driver_connection
    assert isinstance(found, psycopg.Connection)
    return found


def depth(session: Session, at_most: int | None = None) -> int:
    """Jobs that wait or are under way, on all hosts; counted up to `at_most`."""
    jobs = text("SELECT id FROM procrastinate_jobs WHERE status IN ('todo', 'doing') LIMIT :most").bindparams(
        most=at_most
    )
    return session.scalar(select(func.count()).select_from(jobs.columns(column("id")).subquery())) or 0


def live_workers(session: Session, seconds: float) -> int:
    """Workers that gave a sign of life within `seconds`."""
    statement = (
        "SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > now() - make_interval(secs => :s)"
    )
    return session.scalar(text(statement), {"s": seconds}) or 0


def announce(session: Session, run_id: uuid.UUID) -> None:
    """Tell all hosts that the run ended, at the commit."""
    session.execute(select(func.pg_notify(RUN_ENDED_CHANNEL, str(run_id))))


def listen(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(RUN_ENDED_CHANNEL)))


def settled(session: Session, run_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of `run_ids` whose outcome stands in the database."""
    return set(session.scalars(select(DetectorRun.id).where(DetectorRun.id.in_(run_ids))))


async def may_rescue(connection: "psycopg.AsyncConnection[tuple[object, ...]]") -> bool:
    """True for one connection at a time, until its transaction ends."""
    cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (RESCUE_LOCK_ID,))
    row = await cursor.fetchone()
    return row is not None and row[0] is True


def without_job(session: Session) -> Sequence[AnalysisRecord]:
    """Records with a run under way that no job stands for: of a version before the queue, or of a restored backup."""
    job = (
        "SELECT 1 FROM procrastinate_jobs WHERE lock = CAST(analysis_records.run_id AS text) "
        "AND status IN ('todo', 'doing')"
    )
    return session.scalars(
        select(AnalysisRecord)
        .where(AnalysisRecord.status.in_(UNDER_WAY), text(f"NOT EXISTS ({job})"))
        .order_by(AnalysisRecord.updated_at)
        .limit(ADOPTED_AT_ONCE)
        .with_for_update(skip_locked=True)
    ).all()
