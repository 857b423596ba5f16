"""What the API says of audit events."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.audit.models import EventType


class EventView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    sequence: int
    id: uuid.UUID
    timestamp: datetime
    event_type: EventType
    analysis_id: uuid.UUID | None
    actor: str
    details: dict[str, Any]
    previous_hash: str
    hash: str


class EventList(BaseModel):
    items: list[EventView]


class ChainView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    intact: bool
    events: int
    last_hash: Annotated[str, Field(description="Write it down elsewhere: it also proves the end of the chain.")]
    broken_at: Annotated[int | None, Field(description="Sequence number of the first event that does not fit.")]
    records_altered: Annotated[int, Field(description="Records that are not, or no longer, as their events tell.")]
    runs_altered: Annotated[int, Field(description="Runs that are not, or no longer, as their events tell.")]
    bound_in_part: Annotated[
        int,
        Field(description="Records and runs whose events are too old to hold the hash of the whole row."),
    ]
