"""Registering webhooks, and looking at what became of their messages."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from app.analysis.schemas import DEFAULT_PAGE, MAX_OFFSET, MAX_PAGE
from app.identity.permissions import Action, allow
from app.identity.user import User
from app.problems import documented
from app.state import State
from app.webhooks import repository, service
from app.webhooks.addresses import resolve
from app.webhooks.models import DeliveryState
from app.webhooks.repository import Tally
from app.webhooks.schemas import (
    DeliveryList,
    DeliveryView,
    WebhookList,
    WebhookOrder,
    WebhookSecretView,
    WebhookStandView,
    WebhookView,
)

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])


@router.post(
    "",
    status_code=201,
    summary="Have a URL told of runs that end",
    response_model=WebhookSecretView,
    responses=documented(400, 401, 403, 413, 422, 503),
)
def register_webhook(
    order: WebhookOrder,
    state: State,
    user: Annotated[User, Depends(allow(Action.MANAGE_WEBHOOKS))],
) -> Any:
    """The secret is in this answer only. Messages hold ids and the finding, never evidence."""
    resolve(order.url, state.settings.webhook_networks)
    with state.database.write() as session:
        return service.register(session, user.name, order.url, set(order.events))


@router.get("", summary="The webhooks", response_model=WebhookList, responses=documented(400, 401, 403, 503))
def list_webhooks(
    state: State,
    _user: Annotated[User, Depends(allow(Action.MANAGE_WEBHOOKS))],
) -> Any:
    with state.database.read() as session:
        tallies = repository.tallies(session)
        return WebhookList(
            items=[
                WebhookStandView(
                    **WebhookView.model_validate(endpoint).model_dump(),
                    pending=tallies.get(endpoint.id, Tally()).pending,
                    given_up=tallies.get(endpoint.id, Tally()).given_up,
                )
                for endpoint in repository.endpoints(session)
            ]
        )


@router.delete(
    "/{webhook_id:uuid}",
    status_code=204,
    summary="Tell it nothing more",
    responses=documented(400, 401, 403, 404, 422, 503),
)
def remove_webhook(
    webhook_id: uuid.UUID,
    state: State,
    user: Annotated[User, Depends(allow(Action.MANAGE_WEBHOOKS))],
) -> None:
    """What waits to be delivered goes with it."""
    with state.database.write() as session:
        service.remove(session, user.name, webhook_id)


@router.post(
    "/{webhook_id:uuid}/rotate",
    summary="Give it a new secret",
    response_model=WebhookSecretView,
    responses=documented(400, 401, 403, 404, 422, 503),
)
def rotate_secret(
    webhook_id: uuid.UUID,
    state: State,
    user: Annotated[User, Depends(allow(Action.MANAGE_WEBHOOKS))],
) -> Any:
    """For a day both the new secret and the one of before sign each message."""
    with state.database.write() as session:
        return service.rotate(session, user.name, webhook_id)


@router.get(
    "/{webhook_id:uuid}/deliveries",
    summary="Its messages, newest first",
    response_model=DeliveryList,
    responses=documented(400, 401, 403, 404, 422, 503),
)
def list_deliveries(
    *,
    webhook_id: uuid.UUID,
    state: State,
    _user: Annotated[User, Depends(allow(Action.MANAGE_WEBHOOKS))],
    delivery_state: Annotated[DeliveryState | None, Query(alias="state")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
) -> Any:
    """Kept for 30 days."""
    with state.database.read() as session:
        service.require(session, webhook_id)
        items = repository.deliveries(session, webhook_id, delivery_state, limit=limit, offset=offset)
    return {"items": items, "limit": limit, "offset": offset}


@router.post(
    "/{webhook_id:uuid}/deliveries/{delivery_id:uuid}/retry",
    summary="Try a message again that was given up",
    response_model=DeliveryView,
    responses=documented(400, 401, 403, 404, 409, 422, 503),
)
def retry_delivery(
    webhook_id: uuid.UUID,
    delivery_id: uuid.UUID,
    state: State,
    _user: Annotated[User, Depends(allow(Action.MANAGE_WEBHOOKS))],
) -> Any:
    with state.database.write() as session:
        return service.try_again(session, webhook_id, delivery_id)
