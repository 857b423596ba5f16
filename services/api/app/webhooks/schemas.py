"""What the API says of webhooks."""

import uuid
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.webhooks.addresses import MAX_URL_CHARACTERS
from app.webhooks.events import EVENT_TYPES
from app.webhooks.models import DeliveryState

EventName = Annotated[str, Field(pattern=f"^({'|'.join(name.replace('.', '[.]') for name in EVENT_TYPES)})$")]


class WebhookOrder(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, Field(max_length=MAX_URL_CHARACTERS, examples=["https://desk.example.org/earwitness"])]
    events: Annotated[list[EventName], Field(min_length=1, max_length=len(EVENT_TYPES))] = list(EVENT_TYPES)


class WebhookView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    url: str
    events: list[str]
    created_at: datetime
    created_by: str
    disabled_at: Annotated[
        datetime | None, Field(description="Since when nothing is sent: the other side answered 410 Gone.")
    ]
    previous_secret_until: Annotated[
        datetime | None, Field(description="Until when the secret of before the rotation signs along.")
    ]


class WebhookSecretView(WebhookView):
    secret: Annotated[str, Field(description="Shown this once; for verifying by the Standard Webhooks scheme.")]


class WebhookStandView(WebhookView):
    pending: Annotated[int, Field(description="Deliveries that wait for an attempt.")]
    given_up: Annotated[int, Field(description="Deliveries that failed too often.")]


class WebhookList(BaseModel):
    items: list[WebhookStandView]


class DeliveryView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: Annotated[uuid.UUID, Field(description="Sent as `webhook-id: msg_<its hex digits>`, the same each time.")]
    event: str
    body: Annotated[str, Field(description="What is sent, byte by byte.")]
    created_at: datetime
    state: DeliveryState
    attempts: int
    next_attempt_at: datetime
    last_attempt_at: datetime | None
    last_status: int | None
    last_error: str | None


class DeliveryList(BaseModel):
    items: list[DeliveryView]
    limit: int
    offset: int
