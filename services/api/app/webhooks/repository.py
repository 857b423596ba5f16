"""All SQL on webhooks. Several processes deliver: what one takes, the others skip."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import CursorResult, delete, func, select, update
from sqlalchemy.orm import Session

from app.audit.models import AuditEvent, EventType
from app.webhooks.models import DeliveryState, WebhookDelivery, WebhookEndpoint

NOTHING_TO_SYNCHRONISE = {"synchronize_session": False}


@dataclass(frozen=True, slots=True)
class Tally:
    pending: int = 0
    given_up: int = 0


def add(session: Session, row: WebhookEndpoint | WebhookDelivery) -> None:
    session.add(row)
    session.flush()


def get(session: Session, endpoint_id: uuid.UUID, *, locked: bool = False) -> WebhookEndpoint | None:
    """`locked`: nobody else changes it until the end of the transaction."""
    return session.get(WebhookEndpoint, endpoint_id, with_for_update=locked)


def endpoints(session: Session) -> Sequence[WebhookEndpoint]:
    return session.scalars(select(WebhookEndpoint).order_by(WebhookEndpoint.created_at, WebhookEndpoint.id)).all()


def tallies(session: Session) -> dict[uuid.UUID, Tally]:
    """What is open and what was given up, by endpoint."""
    rows = session.execute(
        select(WebhookDelivery.endpoint_id, WebhookDelivery.state, func.count())
        .where(WebhookDelivery.state != DeliveryState.DELIVERED)
        .group_by(WebhookDelivery.endpoint_id, WebhookDelivery.state)
    )
    found: dict[uuid.UUID, dict[DeliveryState, int]] = {}
    for endpoint_id, state, count in rows:
        found.setdefault(endpoint_id, {})[state] = count
    return {
        endpoint_id: Tally(counts.get(DeliveryState.PENDING, 0), counts.get(DeliveryState.GIVEN_UP, 0))
        for endpoint_id, counts in found.items()
    }


def remove(session: Session, endpoint_id: uuid.UUID) -> bool:
    """With all its deliveries; False where there is none."""
    result = session.execute(
        delete(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id), execution_options=NOTHING_TO_SYNCHRONISE
    )
    assert isinstance(result, CursorResult)
    return result.rowcount == 1


def deliveries(
    session: Session, endpoint_id: uuid.UUID, state: DeliveryState | None, *, limit: int, offset: int
) -> Sequence[WebhookDelivery]:
    """Newest first."""
    chosen = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint_id)
    if state is not None:
        chosen = chosen.where(WebhookDelivery.state == state)
    return session.scalars(chosen.order_by(WebhookDelivery.sequence.desc()).limit(limit).offset(offset)).all()


def with_work(session: Session, now: datetime) -> Sequence[uuid.UUID]:
    """Endpoints that have not seen the newest event, or have a delivery that is due."""
    newest = select(func.coalesce(func.max(AuditEvent.sequence), 0)).scalar_subquery()
    due = (
        select(WebhookDelivery.id)
        .where(
            WebhookDelivery.endpoint_id == WebhookEndpoint.id,
            WebhookDelivery.state == DeliveryState.PENDING,
            WebhookDelivery.next_attempt_at <= now,
        )
        .exists()
    )
    return session.scalars(
        select(WebhookEndpoint.id).where(
            WebhookEndpoint.disabled_at.is_(None), (WebhookEndpoint.seen_sequence < newest) | due
        )
    ).all()


def lock(session: Session, endpoint_id: uuid.UUID) -> WebhookEndpoint | None:
    """None where another process makes its deliveries just now, or where it is gone."""
    return session.scalars(
        select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id).with_for_update(skip_locked=True)
    ).one_or_none()


def newest_sequence(session: Session) -> int:
    return session.scalar(select(func.coalesce(func.max(AuditEvent.sequence), 0))) or 0


def events_between(
    session: Session, after: int, until: int, kinds: Collection[EventType], limit: int
) -> Sequence[AuditEvent]:
    return session.scalars(
        select(AuditEvent)
        .where(AuditEvent.sequence > after, AuditEvent.sequence <= until, AuditEvent.event_type.in_(kinds))
        .order_by(AuditEvent.sequence)
        .limit(limit)
    ).all()


def take_due(
    session: Session, endpoint_id: uuid.UUID, now: datetime, lease_until: datetime
) -> WebhookDelivery | None:
    """The endpoint's delivery that is due longest, its attempt counted, nobody else's before `lease_until`."""
    chosen = (
        select(WebhookDelivery.id)
        .where(
            WebhookDelivery.endpoint_id == endpoint_id,
            WebhookDelivery.state == DeliveryState.PENDING,
            WebhookDelivery.next_attempt_at <= now,
        )
        .order_by(WebhookDelivery.next_attempt_at, WebhookDelivery.sequence)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    return session.scalars(
        update(WebhookDelivery)
        .where(WebhookDelivery.id == chosen)
        .values(attempts=WebhookDelivery.attempts + 1, last_attempt_at=now, next_attempt_at=lease_until)
        .returning(WebhookDelivery),
        execution_options=NOTHING_TO_SYNCHRONISE,
    ).one_or_none()


def settle(
    session: Session,
    taken: WebhookDelivery,
    *,
    state: DeliveryState,
    next_attempt_at: datetime,
    status: int | None,
    error: str | None,
) -> bool:
    """Note how the attempt ended; False where it is not the newest one any more."""
    result = session.execute(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.id == taken.id,
            WebhookDelivery.attempts == taken.attempts,
            WebhookDelivery.state == DeliveryState.PENDING,
        )
        .values(state=state, next_attempt_at=next_attempt_at, last_status=status, last_error=error),
        execution_options=NOTHING_TO_SYNCHRONISE,
    )
    assert isinstance(result, CursorResult)
    return result.rowcount == 1


def disable(session: Session, endpoint_id: uuid.UUID, now: datetime) -> None:
    """Send nothing more; what is open is given up."""
    session.execute(
        update(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id).values(disabled_at=now),
        execution_options=NOTHING_TO_SYNCHRONISE,
    )
    session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.endpoint_id == endpoint_id, WebhookDelivery.state == DeliveryState.PENDING)
        .values(state=DeliveryState.GIVEN_UP),
        execution_options=NOTHING_TO_SYNCHRONISE,
    )


def try_again(
    session: Session, endpoint_id: uuid.UUID, delivery_id: uuid.UUID, now: datetime
) -> WebhookDelivery | None:
    """From the first attempt; None where there is no such delivery that was given up."""
    return session.scalars(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.id == delivery_id,
            WebhookDelivery.endpoint_id == endpoint_id,
            WebhookDelivery.state == DeliveryState.GIVEN_UP,
        )
        .values(state=DeliveryState.PENDING, attempts=0, next_attempt_at=now)
        .returning(WebhookDelivery),
        execution_options=NOTHING_TO_SYNCHRONISE,
    ).one_or_none()


def forget(session: Session, before: datetime) -> int:
    """Deliveries that ended and are older; how many."""
    result = session.execute(
        delete(WebhookDelivery).where(
            WebhookDelivery.created_at < before, WebhookDelivery.state != DeliveryState.PENDING
        ),
        execution_options=NOTHING_TO_SYNCHRONISE,
    )
    assert isinstance(result, CursorResult)
    return result.rowcount
