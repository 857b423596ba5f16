"""SQL on the columns of `analysis_records` that say whether evidence is held or was erased.

Each change is one statement that also decides whether it may happen, so that it can't race with a run or a hold.
"""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, case, exists, func, select, true, update
from sqlalchemy.orm import Session, aliased

from app.analysis.models import UNDER_WAY, AnalysisRecord
from app.analysis.repository import NOTHING_TO_SYNCHRONISE


def _erasable() -> list[ColumnElement[bool]]:
    return [
        AnalysisRecord.erased_at.is_(None),
        AnalysisRecord.held_at.is_(None),
        AnalysisRecord.status.not_in(UNDER_WAY),
    ]


def erase(
    session: Session, analysis_id: uuid.UUID, *, by: str, reason: str, at: datetime
) -> AnalysisRecord | None:
    """Mark the evidence erased; None where a hold, a run, or its erasure before stands against it."""
    return session.scalars(
        update(AnalysisRecord)
        .where(AnalysisRecord.id == analysis_id, *_erasable())
        .values(erased_at=at, erased_by=by, erasure_reason=reason, updated_at=at)
        .returning(AnalysisRecord),
        execution_options=NOTHING_TO_SYNCHRONISE,
    ).one_or_none()


def set_hold(
    session: Session, analysis_id: uuid.UUID, *, at: datetime | None, by: str | None, reason: str | None
) -> AnalysisRecord | None:
    """Place a hold, or with three times None release it; None where the evidence was erased."""
    return session.scalars(
        update(AnalysisRecord)
        .where(AnalysisRecord.id == analysis_id, AnalysisRecord.erased_at.is_(None))
        .values(held_at=at, held_by=by, hold_reason=reason)
        .returning(AnalysisRecord),
        execution_options=NOTHING_TO_SYNCHRONISE,
    ).one_or_none()


def due(session: Session, received_before: datetime, limit: int) -> Sequence[uuid.UUID]:
    """Analyses whose evidence was received before then and may be erased, oldest first."""
    return session.scalars(
        select(AnalysisRecord.id)
        .where(AnalysisRecord.created_at < received_before, *_erasable())
        .order_by(AnalysisRecord.created_at)
        .limit(limit)
    ).all()


def unfinished(session: Session, *, finished_too: bool = False) -> Sequence[str]:
    """Hashes of erased evidence that the store may still have, no analysis needing it any more."""
    other = aliased(AnalysisRecord)
    needed = exists().where(other.sha256 == AnalysisRecord.sha256, other.erased_at.is_(None))
    open_only = true() if finished_too else AnalysisRecord.removed_at.is_(None)
    return session.scalars(
        select(AnalysisRecord.sha256).where(AnalysisRecord.erased_at.is_not(None), open_only, ~needed).distinct()
    ).all()


def named(session: Session, hashes: Collection[str]) -> set[str]:
    """Those of `hashes` that any record names, its evidence erased or not."""
    return set(session.scalars(select(AnalysisRecord.sha256).where(AnalysisRecord.sha256.in_(hashes)).distinct()))


def hashes_after(session: Session, last: str, limit: int) -> Sequence[tuple[str, bool]]:
    """The next hashes in order, each with whether every analysis of it was erased."""
    erased = case((func.count(AnalysisRecord.erased_at) == func.count(), True), else_=False)
    rows = session.execute(
        select(AnalysisRecord.sha256, erased)
        .where(AnalysisRecord.sha256 > last)
        .group_by(AnalysisRecord.sha256)
        .order_by(AnalysisRecord.sha256)
        .limit(limit)
    )
    return [(sha256, bool(all_erased)) for sha256, all_erased in rows]


def note_removal(session: Session, sha256: str, at: datetime) -> None:
    session.execute(
        update(AnalysisRecord)
        .where(
            AnalysisRecord.sha256 == sha256,
            AnalysisRecord.erased_at.is_not(None),
            AnalysisRecord.removed_at.is_(None),
        )
        .values(removed_at=at),
        execution_options=NOTHING_TO_SYNCHRONISE,
    )
