"""Which events of the audit trail are told, under which names, and what of them.

The trail is the outbox: an event is written in the transaction of what it tells, in an order without gaps. So a
webhook costs a run nothing, and none is lost or sent for what was rolled back. The message holds ids and the finding,
no evidence.
"""

import json
from collections.abc import Mapping

from app.audit.models import AuditEvent, EventType

EVENT_TYPES: Mapping[str, EventType] = {
    "run.done": EventType.RUN_DONE,
    "run.failed": EventType.RUN_FAILED,
    "batch.done": EventType.BATCH_FINISHED,
}
TOLD_DETAILS = (
    "run_id",
    "model_version",
    "verdict",
    "p_fake",
    "failure_code",
    "batch_id",
    "done",
    "failed",
    "total",
)

_NAMES = {kind: name for name, kind in EVENT_TYPES.items()}


def name_of(event: AuditEvent) -> str:
    return _NAMES[event.event_type]


def body_of(event: AuditEvent) -> str:
    """JSON with `type`, `timestamp` and `data`, as Standard Webhooks has it."""
    told = {name: event.details[name] for name in TOLD_DETAILS if name in event.details}
    content = {
        "type": name_of(event),
        "timestamp": event.timestamp.isoformat(),
        "data": ({} if event.analysis_id is None else {"analysis_id": str(event.analysis_id)}) | told,
    }
    return json.dumps(content, separators=(",", ":"))
