"""Appending to the audit chain and reading it. The only writer of `audit_events`."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Table, insert, select, text, true
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
