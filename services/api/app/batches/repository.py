"""All SQL on `batches` and `batch_items`."""

import uuid
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.orm import Session

from app.analysis.models import AnalysisRecord
from app.batches.models import Batch, BatchItem, BatchStatus, ItemState
from app.runs.models import DetectorRun, RunOutcome

OPEN = (BatchStatus.PREPARING, BatchStatus.RUNNING)
FEEDER_LOCK_ID = 0x65617266  # "earf" in ASCII


class Ended(NamedTuple):
    item: BatchItem
    outcome: RunOutcome
    failure_code: str | None
    failure_message: str | None


class ResultRow(NamedTuple):
    """One item with what is known of it; the names are the columns of the results."""

    position: int
    state: str
    path: str | None
    analysis_id: uuid.UUID | None
    filename: str | None
    sha256: str | None
    duration_s: float | None
    run_id: uuid.UUID | None
    model_version: str | None
    verdict: str | None
    confidence: float | None
    p_fake: float | None
    llr: float | None
    score: float | None
    abstentions: list[str] | None
    failure_code: str | None
    failure_message: str | None
    processing_ms: int | None


def add(session: Session, batch: Batch) -> None:
    session.add(batch)
    session.flush()


def add_items(session: Session, rows: Iterable[dict[str, object]]) -> None:
    session.execute(insert(BatchItem), list(rows))


def remove_items(session: Session, batch_id: uuid.UUID) -> None:
    session.execute(delete(BatchItem).where(BatchItem.batch_id == batch_id))


def get(session: Session, batch_id: uuid.UUID, *, locked: bool = False) -> Batch | None:
    return session.get(Batch, batch_id, with_for_update=locked)


def by_idempotency_key(session: Session, created_by: str, key: str) -> Batch | None:
    return session.scalars(
        select(Batch).where(Batch.created_by == created_by, Batch.idempotency_key == key)
    ).one_or_none()


def page(session: Session, *, limit: int, offset: int) -> tuple[Sequence[Batch], int]:
    """Newest first; and how many there are in all."""
    items = session.scalars(
        select(Batch).order_by(Batch.created_at.desc(), Batch.id.desc()).limit(limit).offset(offset)
    ).all()
    return items, session.scalar(select(func.count()).select_from(Batch)) or 0


def unfinished(session: Session) -> Sequence[Batch]:
    """Oldest first."""
    return session.scalars(
        select(Batch).where(Batch.finished_at.is_(None)).order_by(Batch.created_at, Batch.id)
    ).all()


def item(session: Session, batch_id: uuid.UUID, position: int) -> BatchItem | None:
    return session.get(BatchItem, (batch_id, position))


def ended(session: Session, batch_id: uuid.UUID, *, limit: int) -> Sequence[Ended]:
    """Items that stand as entered, and whose run has ended."""
    rows = session.execute(
        select(BatchItem, DetectorRun.outcome, DetectorRun.failure_code, DetectorRun.failure_message)
        .join(DetectorRun, DetectorRun.id == BatchItem.run_id)
        .where(BatchItem.state == ItemState.ENTERED, BatchItem.batch_id == batch_id)
        .limit(limit)
    )
    return [Ended(*row) for row in rows]


def results(session: Session, batch_id: uuid.UUID, *, from_position: int, limit: int) -> Sequence[ResultRow]:
    """In the order of the items. Only the columns that are shown: a run's windows are large."""
    rows = session.execute(
        select(
            BatchItem.position,
            BatchItem.state,
            BatchItem.path,
            BatchItem.analysis_id,
            AnalysisRecord.filename,
            AnalysisRecord.sha256,
            DetectorRun.duration_s,
            BatchItem.run_id,
            DetectorRun.model_version,
            DetectorRun.verdict,
            DetectorRun.confidence,
            DetectorRun.p_fake,
            DetectorRun.llr,
            DetectorRun.score,
            DetectorRun.abstentions,
            BatchItem.failure_code,
            BatchItem.failure_message,
            DetectorRun.processing_ms,
        )
        .outerjoin(AnalysisRecord, AnalysisRecord.id == BatchItem.analysis_id)
        .outerjoin(DetectorRun, DetectorRun.id == BatchItem.run_id)
        .where(BatchItem.batch_id == batch_id, BatchItem.position >= from_position)
        .order_by(BatchItem.position)
        .limit(limit)
    )
    return [ResultRow._make(row) for row in rows]


def may_feed(session: Session) -> bool:
    """True for one process at a time, until the session's transaction ends. With SQLite there is only one."""
    if session.get_bind().dialect.name != "postgresql":
        return True
    return bool(session.scalar(text("SELECT pg_try_advisory_xact_lock(:id)"), {"id": FEEDER_LOCK_ID}))
