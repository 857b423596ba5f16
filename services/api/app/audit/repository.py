"""Appending to the audit chain and reading it. The only writer of `audit_events`."""

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Table, func, insert, select, text, true
from sqlalchemy.orm import Session

from app.audit.chain import GENESIS_HASH, event_hash
from app.audit.models import AuditEvent, EventType
from app.orm import utc_now

CHAIN_LOCK_ID = 0x65617277  # any constant; "earw" in ASCII
_LOCK = text("SELECT pg_advisory_xact_lock(:id)")
_TABLE: Table = AuditEvent.__table__  # type: ignore[assignment]  # a Table, as the class declares one
_NEWEST = select(_TABLE.c.sequence, _TABLE.c.hash).order_by(_TABLE.c.sequence.desc()).limit(1)
_INSERT = insert(_TABLE)
ROWS_A_FETCH = 1_000


def append(
    session: Session,
    event_type: EventType,
    *,
    actor: str,
    analysis_id: uuid.UUID | None,
    details: Mapping[str, Any],
) -> None:
    """Add one event behind the newest one.

    Writers take turns from here to the end of their transaction: PostgreSQL by an advisory lock, SQLite by the
    write lock that `Database.write` already holds. So flush what the session holds, append last, and commit soon.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_LOCK, {"id": CHAIN_LOCK_ID})
    newest = session.execute(_NEWEST).first()
    sequence, previous_hash = (newest.sequence + 1, newest.hash) if newest else (1, GENESIS_HASH)
    content: dict[str, Any] = {
        "sequence": sequence,
        "id": uuid.uuid4(),
        "timestamp": utc_now(),
        "event_type": event_type,
        "analysis_id": analysis_id,
        "actor": actor,
        "details": dict(details),
        "previous_hash": previous_hash,
    }
    session.execute(_INSERT, {**content, "hash": event_hash(**content)})


def of_analysis(session: Session, analysis_id: uuid.UUID) -> Sequence[AuditEvent]:
    """The events of one analysis, oldest first."""
    return session.scalars(
        select(AuditEvent).where(AuditEvent.analysis_id == analysis_id).order_by(AuditEvent.sequence)
    ).all()


def of_analyses(
    session: Session, analysis_ids: Collection[uuid.UUID], kinds: Collection[EventType]
) -> Sequence[AuditEvent]:
    """Their events of these kinds, oldest first."""
    return session.scalars(
        select(AuditEvent)
        .where(AuditEvent.analysis_id.in_(analysis_ids), AuditEvent.event_type.in_(kinds))
        .order_by(AuditEvent.sequence)
    ).all()


def newest_of_analyses(
    session: Session, analysis_ids: Collection[uuid.UUID], kinds: Collection[EventType]
) -> Sequence[AuditEvent]:
    """Of each of them the newest event of these kinds, where it has one."""
    newest = (
        select(func.max(AuditEvent.sequence))
        .where(AuditEvent.analysis_id.in_(analysis_ids), AuditEvent.event_type.in_(kinds))
        .group_by(AuditEvent.analysis_id)
    )
    return session.scalars(select(AuditEvent).where(AuditEvent.sequence.in_(newest))).all()


def of_runs(
    session: Session,
    analysis_ids: Collection[uuid.UUID],
    run_ids: Collection[uuid.UUID],
    kinds: Collection[EventType],
) -> Sequence[AuditEvent]:
    """Events of these kinds that name these runs, among those of the analyses, by which they are found."""
    return session.scalars(
        select(AuditEvent).where(
            AuditEvent.analysis_id.in_(analysis_ids),
            AuditEvent.event_type.in_(kinds),
            AuditEvent.details["run_id"].as_string().in_([str(run_id) for run_id in run_ids]),
        )
    ).all()


def after(session: Session, sequence: int, kinds: Collection[EventType], limit: int) -> Sequence[AuditEvent]:
    """The next events of these kinds behind that one, oldest first."""
    return session.scalars(
        select(AuditEvent)
        .where(AuditEvent.sequence > sequence, AuditEvent.event_type.in_(kinds))
        .order_by(AuditEvent.sequence)
        .limit(limit)
    ).all()


def newest_sequence(session: Session) -> int:
    """Of the newest event; 0 where there is none."""
    newest = session.execute(_NEWEST).first()
    return newest.sequence if newest else 0


def reloads_after(session: Session, sequence: int) -> Sequence[AuditEvent]:
    """Events of reloaded models behind that one, oldest first. Reads what came since, not the whole trail."""
    return session.scalars(
        select(AuditEvent)
        .where(AuditEvent.sequence > sequence, AuditEvent.event_type == EventType.MODELS_RELOADED)
        .order_by(AuditEvent.sequence)
    ).all()


def whole_chain(session: Session) -> Iterator[AuditEvent]:
    """Every event, oldest first, read in blocks: a long trail is not held in memory."""
    last = None
    while True:
        after = AuditEvent.sequence > last if last is not None else true()
        block = session.scalars(
            select(AuditEvent).where(after).order_by(AuditEvent.sequence).limit(ROWS_A_FETCH)
        ).all()
        if not block:
            return
        yield from block
        last = block[-1].sequence
        session.expunge_all()
