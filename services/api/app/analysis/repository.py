"""SQL on `analysis_records`; what erases and holds evidence is in `app.retention.repository`."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, Update, func, select, update
from sqlalchemy.orm import Session

from app.analysis.models import UNDER_WAY, AnalysisRecord, Status
from app.orm import utc_now
from earwitness.finding import Verdict

NOTHING_TO_SYNCHRONISE = {"synchronize_session": False}
"""The updates below are the first that their session does, so it holds no records that they could make stale."""


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """What a list is narrowed to; None: not narrowed."""

    verdict: Verdict | None = None
    status: Status | None = None
    sha256: str | None = None
    filename: str | None = None
    """Exactly this label."""
    created_after: datetime | None = None
    """At this time or later."""
    created_before: datetime | None = None
    """Before this time."""

    def conditions(self) -> list[ColumnElement[bool]]:
        pairs: list[tuple[Any, Any]] = [
            (AnalysisRecord.verdict, self.verdict),
            (AnalysisRecord.status, self.status),
            (AnalysisRecord.sha256, self.sha256),
            (AnalysisRecord.filename, self.filename),
        ]
        found: list[ColumnElement[bool]] = [column == value for column, value in pairs if value is not None]
        if self.created_after is not None:
            found.append(AnalysisRecord.created_at >= self.created_after)
        if self.created_before is not None:
            found.append(AnalysisRecord.created_at < self.created_before)
        return found


EVIDENCE_LOCK_ID = 0x65617276  # any constant; "earv" in ASCII


def add(session: Session, record: AnalysisRecord) -> None:
    session.add(record)
    session.flush()


def get(session: Session, analysis_id: uuid.UUID) -> AnalysisRecord | None:
    return session.get(AnalysisRecord, analysis_id)


def by_idempotency_key(session: Session, created_by: str, key: str) -> AnalysisRecord | None:
    return session.scalars(
        select(AnalysisRecord).where(
            AnalysisRecord.created_by == created_by, AnalysisRecord.idempotency_key == key
        )
    ).one_or_none()


def page(
    session: Session, chosen: RecordFilter, *, limit: int, offset: int
) -> tuple[Sequence[AnalysisRecord], int]:
    """One page, newest first, equal times ordered by id; and how many there are in all."""
    conditions = chosen.conditions()
    items = session.scalars(
        select(AnalysisRecord)
        .where(*conditions)
        .order_by(AnalysisRecord.created_at.desc(), AnalysisRecord.id.desc())
        .limit(limit)
        .offset(offset)
    ).all()
    total = session.scalar(select(func.count()).select_from(AnalysisRecord).where(*conditions))
    return items, total or 0


def referenced(session: Session, hashes: Collection[str]) -> set[str]:
    """Those of `hashes` that any record names as its evidence, erased evidence not counted."""
    named = AnalysisRecord.sha256.in_(hashes), AnalysisRecord.erased_at.is_(None)
    return set(session.scalars(select(AnalysisRecord.sha256).where(*named).distinct()))


def lock_evidence(session: Session, sha256: str) -> None:
    """Until the end of the transaction nobody else publishes or removes bytes of this hash.

    PostgreSQL: an advisory lock, in the key space of pairs; SQLite: the write lock that `Database.write` holds.
    """
    if session.get_bind().dialect.name == "postgresql":
        key = int.from_bytes(bytes.fromhex(sha256[:8]), signed=True)
        session.execute(select(func.pg_advisory_xact_lock(EVIDENCE_LOCK_ID, key)))


def claim_for_run(
    session: Session, analysis_id: uuid.UUID, run_id: uuid.UUID, requested_by: str, model_version: str | None
) -> bool:
    """Set QUEUED unless a run is under way; False where one is, and for a record without evidence or no record.

    One statement decides, so two requests at the same time can't both win.
    """
    return _changes_one(
        session,
        update(AnalysisRecord)
        .where(
            AnalysisRecord.id == analysis_id,
            AnalysisRecord.status.not_in(UNDER_WAY),
            AnalysisRecord.erased_at.is_(None),
        )
        .values(
            status=Status.QUEUED,
            run_id=run_id,
            run_requested_by=requested_by,
            run_model_version=model_version,
            failure_code=None,
            failure_message=None,
            updated_at=utc_now(),
        ),
    )


def mark_running(session: Session, analysis_id: uuid.UUID, run_id: uuid.UUID) -> AnalysisRecord | None:
    """From QUEUED to RUNNING; None where this run is no longer the one that waits."""
    return session.scalars(
        update(AnalysisRecord)
        .where(
            AnalysisRecord.id == analysis_id,
            AnalysisRecord.run_id == run_id,
            AnalysisRecord.status == Status.QUEUED,
        )
        .values(status=Status.RUNNING, updated_at=utc_now())
        .returning(AnalysisRecord),
        execution_options=NOTHING_TO_SYNCHRONISE,
    ).one_or_none()


def under_way(session: Session) -> Sequence[AnalysisRecord]:
    """Every record with a run that has not ended, oldest request first."""
    return session.scalars(
        select(AnalysisRecord).where(AnalysisRecord.status.in_(UNDER_WAY)).order_by(AnalysisRecord.updated_at)
    ).all()


def _changes_one(session: Session, statement: Update) -> bool:
    result = session.execute(statement, execution_options=NOTHING_TO_SYNCHRONISE)
    assert isinstance(result, CursorResult)
    return result.rowcount == 1
