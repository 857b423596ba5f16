"""The hash of an audit event, and the check of a whole chain. Pure: no database here.

hash = SHA-256(canonical JSON of the event's fields and of the previous event's hash). Changing, removing,
inserting or reordering an event breaks every hash after it. The last hash, written down elsewhere, also shows
that nothing was cut off at the end.
"""

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

GENESIS_HASH = "0" * 64
"""What the first event names as its predecessor."""


class ChainedEvent(Protocol):
    sequence: Any
    id: Any
    timestamp: Any
    event_type: Any
    analysis_id: Any
    actor: Any
    details: Any
    previous_hash: Any
    hash: Any


@dataclass(frozen=True, slots=True)
class ChainCheck:
    intact: bool
    events: int
    """Events that were checked, the broken one included."""
    last_hash: str
    broken_at: int | None = None
    """Sequence number of the first event that does not fit."""


def event_hash(
    *,
    sequence: int,
    id: uuid.UUID,  # noqa: A002  the event's field, named as in the table
    timestamp: datetime,
    event_type: str,
    analysis_id: uuid.UUID | None,
    actor: str,
    details: Mapping[str, Any],
    previous_hash: str,
) -> str:
    """Hex SHA-256 of one event: keys sorted, no spaces, UTF-8, times in UTC with microseconds."""
    content = {
        "sequence": sequence,
        "id": str(id),
        "timestamp": timestamp.astimezone(UTC).isoformat(timespec="microseconds"),
        "event_type": str(event_type),
        "analysis_id": None if analysis_id is None else str(analysis_id),
        "actor": actor,
        "details": details,
        "previous_hash": previous_hash,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def check_chain(events: Iterable[ChainedEvent]) -> ChainCheck:
    """Follow `events`, in their order, from the first to the last or to the first that does not fit."""
    previous_hash = GENESIS_HASH
    count = 0
    for event in events:
        count += 1
        fits = (
            event.sequence == count
            and event.previous_hash == previous_hash
            and event.hash
            == event_hash(
                sequence=event.sequence,
                id=event.id,
                timestamp=event.timestamp,
                event_type=event.event_type,
                analysis_id=event.analysis_id,
                actor=event.actor,
                details=event.details,
                previous_hash=event.previous_hash,
            )
        )
        if not fits:
            return ChainCheck(False, count, previous_hash, broken_at=event.sequence)
        previous_hash = event.hash
    return ChainCheck(True, count, previous_hash)
