"""Endpoints and their deliveries, inside a transaction that the caller owns."""

import uuid
from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.audit import repository as audit
from app.audit.models import EventType
from app.errors import DeliveryNotFoundError, WebhookEndedError, WebhookNotFoundError
from app.orm import utc_now
from app.webhooks import repository
from app.webhooks.events import EVENT_TYPES, body_of, name_of
from app.webhooks.models import WebhookDelivery, WebhookEndpoint
from app.webhooks.signing import new_secret

OLD_SECRET_SIGNS = timedelta(hours=24)  # time for the other side to take the new one over
DELIVERIES_KEPT = timedelta(days=30)
EVENTS_A_STEP = 200


def register(session: Session, by: str, url: str, events: Collection[str]) -> WebhookEndpoint:
    """It is told of what happens from now on. The address was checked by the caller."""
    endpoint_id = uuid.uuid4()
    audit.append(
        session,
        EventType.WEBHOOK_REGISTERED,
        actor=by,
        analysis_id=None,
        details={"webhook_id": str(endpoint_id), "url": url, "events": sorted(events)},
    )
    endpoint = WebhookEndpoint(
        id=endpoint_id,
        url=url,
        events=sorted(events),
        created_by=by,
        secret=new_secret(),
        seen_sequence=repository.newest_sequence(session),
    )
    repository.add(session, endpoint)
    return endpoint


def require(session: Session, endpoint_id: uuid.UUID) -> WebhookEndpoint:
    """Raises WebhookNotFoundError."""
    endpoint = repository.get(session, endpoint_id)
    if endpoint is None:
        raise _not_found(endpoint_id)
    return endpoint


def rotate(session: Session, by: str, endpoint_id: uuid.UUID) -> WebhookEndpoint:
    """A new secret; the one of before signs along for a day. Raises WebhookNotFoundError."""
    endpoint = require(session, endpoint_id)
    endpoint.previous_secret, endpoint.secret = endpoint.secret, new_secret()
    endpoint.previous_secret_until = utc_now() + OLD_SECRET_SIGNS
    _note(session, EventType.WEBHOOK_ROTATED, by, endpoint_id)
    return endpoint


def remove(session: Session, by: str, endpoint_id: uuid.UUID) -> None:
    """Raises WebhookNotFoundError."""
    if not repository.remove(session, endpoint_id):
        raise _not_found(endpoint_id)
    _note(session, EventType.WEBHOOK_REMOVED, by, endpoint_id)


def try_again(session: Session, endpoint_id: uuid.UUID, delivery_id: uuid.UUID) -> WebhookDelivery:
    """Raises WebhookNotFoundError, WebhookEndedError and DeliveryNotFoundError."""
    endpoint = repository.get(session, endpoint_id, locked=True)  # or it might end before this is committed
    if endpoint is None:
        raise _not_found(endpoint_id)
    if endpoint.disabled_at is not None:
        raise WebhookEndedError(
            f"this webhook ended at {endpoint.disabled_at.isoformat(timespec='seconds')}, when the other side answered "
            "410: register its URL anew"
        )
    delivery = repository.try_again(session, endpoint_id, delivery_id, utc_now())
    if delivery is None:
        raise DeliveryNotFoundError(f"this webhook has no delivery {delivery_id} that was given up")
    return delivery


def make_deliveries(session: Session, endpoint_id: uuid.UUID) -> None:
    """For the events that the endpoint has not seen; nothing where another process is at it."""
    endpoint = repository.lock(session, endpoint_id)
    if endpoint is None or endpoint.disabled_at is not None:
        return
    newest = repository.newest_sequence(session)
    kinds = {EVENT_TYPES[name] for name in endpoint.events if name in EVENT_TYPES}
    events = repository.events_between(session, endpoint.seen_sequence, newest, kinds, EVENTS_A_STEP)
    for event in events:
        session.add(
            WebhookDelivery(
                endpoint_id=endpoint_id, sequence=event.sequence, event=name_of(event), body=body_of(event)
            )
        )
    endpoint.seen_sequence = events[-1].sequence if len(events) == EVENTS_A_STEP else newest
    session.flush()


def secrets_of(endpoint: WebhookEndpoint, now: datetime) -> list[str]:
    until = endpoint.previous_secret_until
    if endpoint.previous_secret is None or until is None or until <= now:
        return [endpoint.secret]
    return [endpoint.secret, endpoint.previous_secret]


def _not_found(endpoint_id: uuid.UUID) -> WebhookNotFoundError:
    return WebhookNotFoundError(f"there is no webhook {endpoint_id}")


def _note(session: Session, kind: EventType, by: str, endpoint_id: uuid.UUID) -> None:
    audit.append(session, kind, actor=by, analysis_id=None, details={"webhook_id": str(endpoint_id)})
