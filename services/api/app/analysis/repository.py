"""SQL on `analysis_records`; what erases and holds evidence is in `app.retention.repository`."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, Row, Table, bindparam, func, select, true, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from app.analysis.models import UNDER_WAY, AnalysisRecord, Status
from app.orm import utc_now
from earwitness.finding import Verdict

NOTHING_TO_SYNCHRONISE = {"synchronize_session": False}
"""For updates that are the first that their session does, so it holds no records that they could make stale."""

# A run's three changes of its record, made once: building and tracking them anew took most of a run's overhead. They
# go past the session, so records that it holds don't show them.
_TABLE: Table = AnalysisRecord.__table__  # type: ignore[assignment]  # a Table, as the class declares one
_THIS = _TABLE.c.id == bindparam("this_id")
_THIS_RUN = _TABLE.c.run_id == bindparam("this_run_id")
_CLAIM = update(_TABLE).where(_THIS, _TABLE.c.status.not_in(UNDER_WAY), _TABLE.c.erased_at.is_(None))
_MARK_RUNNING = update(_TABLE).where(_THIS, _THIS_RUN, _TABLE.c.status == Status.QUEUED).returning(*_TABLE.c)
_TAKE_OVER = update(_TABLE).where(_THIS, _THIS_RUN, _TABLE.c.status.in_(UNDER_WAY)).returning(*_TABLE.c)
_NOTE_PROGRESS = update(_TABLE).where(
    _THIS, _THIS_RUN, _TABLE.c.status == Status.RUNNING, _TABLE.c.run_started_at == bindparam("this_start")
)
_SHOW_END = update(_TABLE).where(_THIS, _THIS_RUN, _TABLE.c.status == Status.RUNNING).returning(*_TABLE.c)


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


def stored(session: Session, analysis_ids: Collection[uuid.UUID]) -> Sequence[Row[Any]]:
    """The rows as they are in the database, past what the session holds."""
    return session.execute(select(_TABLE).where(_TABLE.c.id.in_(analysis_ids))).all()


def ids_after(session: Session, last: uuid.UUID | None, limit: int) -> Sequence[uuid.UUID]:
    """The next ids in their order; from the first one for None."""
    behind = _TABLE.c.id > last if last is not None else true()
    return session.scalars(select(_TABLE.c.id).where(behind).order_by(_TABLE.c.id).limit(limit)).all()


def known(session: Session, analysis_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of them that have a row."""
    return set(session.scalars(select(_TABLE.c.id).where(_TABLE.c.id.in_(analysis_ids))))


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


def newest_time(session: Session, chosen: RecordFilter) -> datetime | None:
    """When the newest of them came; None where there is none."""
    return session.scalar(select(func.max(AnalysisRecord.created_at)).where(*chosen.conditions()))


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
    session: Session,
    analysis_id: uuid.UUID,
    run_id: uuid.UUID,
    requested_by: str,
    model_version: str | None = None,
    *,
    trace: str | None = None,
) -> bool:
    """Set QUEUED unless a run is under way; False where one is, and for a record without evidence or no record.

    One statement decides, so two requests at the same time can't both win.
    """
    result = session.execute(
        _CLAIM,
        {
            "this_id": analysis_id,
            "status": Status.QUEUED,
            "run_id": run_id,
            "run_requested_by": requested_by,
            "run_model_version": model_version,
            "run_trace": trace,
            "run_started_at": None,
            "examined_s": None,
            "failure_code": None,
            "failure_message": None,
            "updated_at": utc_now(),
        },
    )
    assert isinstance(result, CursorResult)
    return result.rowcount == 1


def mark_running(
    session: Session, analysis_id: uuid.UUID, run_id: uuid.UUID, *, even_if_running: bool = False
) -> AnalysisRecord | None:
    """From QUEUED to RUNNING; the record as it is then, in no session.

    None where this run is no longer the one that waits, nor, `even_if_running`, the one that is under way.
    """
    now = utc_now()
    values = {"status": Status.RUNNING, "updated_at": now, "run_started_at": now, "examined_s": None}
    return _changed(session, _TAKE_OVER if even_if_running else _MARK_RUNNING, analysis_id, run_id, values)


def note_progress(session: Session, begun: AnalysisRecord, examined_s: float) -> bool:
    """Write how far the run is; `begun` is the record as `mark_running` gave it.

    False, and nothing is written, where that run has ended, waits again or was begun again by another worker: then the
    time of its beginning is another one.
    """
    ours = {"this_id": begun.id, "this_run_id": begun.run_id, "this_start": begun.run_started_at}
    result = session.execute(_NOTE_PROGRESS, {**ours, "examined_s": examined_s})
    assert isinstance(result, CursorResult)
    return result.rowcount == 1


def show_end(
    session: Session, analysis_id: uuid.UUID, run_id: uuid.UUID, values: Mapping[str, Any]
) -> AnalysisRecord | None:
    """Write how a run ended into its record; the record as it is then, in no session.

    None where that run is not under way there, or no longer.
    """
    return _changed(session, _SHOW_END, analysis_id, run_id, values)


def mark_waiting(session: Session, analysis_id: uuid.UUID, run_id: uuid.UUID) -> AnalysisRecord | None:
    """From RUNNING back to QUEUED; None where that run is not under way there, or no longer."""
    values = {"status": Status.QUEUED, "updated_at": utc_now(), "run_started_at": None, "examined_s": None}
    return _changed(session, _SHOW_END, analysis_id, run_id, values)


def under_way(session: Session) -> Sequence[AnalysisRecord]:
    """Every record with a run that has not ended, oldest request first."""
    return session.scalars(
        select(AnalysisRecord).where(AnalysisRecord.status.in_(UNDER_WAY)).order_by(AnalysisRecord.updated_at)
    ).all()


def _changed(
    session: Session,
    statement: ReturningUpdate[Any],
    analysis_id: uuid.UUID,
    run_id: uuid.UUID,
    values: Mapping[str, Any],
) -> AnalysisRecord | None:
    row = session.execute(statement, {"this_id": analysis_id, "this_run_id": run_id, **values}).one_or_none()
    return None if row is None else AnalysisRecord(**row._mapping)
