"""What the audit chain tells of records and runs, and whether their rows say the same. Pure: no database here.

    details = receipt_of(record)               # what the event of a receipt is written with
    kind, details = end_of(run)                # and that of a run's end
    fault = run_fault(run, ends)               # None, or in words how the row and its event differ

The events carry `row_sha256`, the hash of the whole row (`app.audit.canonical`), so whoever changes a row has to write
the chain anew from there on. Events of before it was written bind only what else they name.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.analysis.models import UNDER_WAY, AnalysisRecord, Status
from app.audit.canonical import canonical, row_sha256
from app.audit.models import AuditEvent, EventType
from app.runs.models import DetectorRun, RunOutcome
from app.runs.recording import NOTHING_FOUND, newest_columns

ROW_HASH = "row_sha256"
ENDS = (EventType.RUN_DONE, EventType.RUN_FAILED)
HOLDS = (EventType.HOLD_PLACED, EventType.HOLD_RELEASED)
TOLD_OF_RECORDS = (EventType.EVIDENCE_RECEIVED, EventType.EVIDENCE_ERASED, *HOLDS)

MAY_CHANGE = frozenset(
    {
        "updated_at",
        *("held_at", "held_by", "hold_reason", "erased_at", "erased_by", "erasure_reason", "removed_at"),
        *(
            "status",
            "run_id",
            "run_requested_by",
            "run_model_version",
            "run_trace",
            "run_started_at",
            "examined_s",
        ),
        *("failure_code", "failure_message", *NOTHING_FOUND, "model_version", "processing_ms"),
        "duration_s",  # what the header declares, and from the first run on the decoded length
    }
)
"""Columns of a record that its receipt does not fix; any other one is bound to it, also one that comes later."""
RECEIVED = tuple(column.name for column in AnalysisRecord.__table__.columns if column.name not in MAY_CHANGE)
RUN_COLUMNS = tuple(column.name for column in DetectorRun.__table__.columns)

BEFORE_ANY_RUN = {**NOTHING_FOUND, "model_version": None, "processing_ms": None}
OWN_TO_THE_RECORD = frozenset({"updated_at", "examined_s"})
"""Written with a run's end, and by an erasure, or while the next run is under way, as well."""
CLEARED_BY_A_REQUEST = frozenset({"status", "failure_code", "failure_message"})


@dataclass(frozen=True, slots=True)
class Told:
    """What the chain tells of one analysis, as far as its record shows it."""

    receipts: tuple[AuditEvent, ...]
    erasures: tuple[AuditEvent, ...]
    hold: AuditEvent | None
    """The last one placed or released."""
    end: AuditEvent | None
    """Of the run that ended last."""


def told_by(events: Iterable[AuditEvent], end: AuditEvent | None) -> Told:
    """`events`: those of one analysis that are TOLD_OF_RECORDS, oldest first; `end`: the newest one of ENDS."""
    found = list(events)
    holds = [event for event in found if event.event_type in HOLDS]
    return Told(
        receipts=tuple(event for event in found if event.event_type is EventType.EVIDENCE_RECEIVED),
        erasures=tuple(event for event in found if event.event_type is EventType.EVIDENCE_ERASED),
        hold=holds[-1] if holds else None,
        end=end,
    )


def receipt_of(record: Any) -> dict[str, Any]:
    """Details of the event of a receipt. `record`: the row as it is stored."""
    return {
        "sha256": record.sha256,
        "size_bytes": record.size_bytes,
        "filename": record.filename,
        ROW_HASH: row_sha256(record, RECEIVED),
    }


def end_of(run: Any) -> tuple[EventType, dict[str, Any]]:
    """Kind and details of the event of a run's end. `run`: the row as it is stored."""
    details: dict[str, Any] = {
        "run_id": str(run.id),
        "model_version": run.model_version,
        "evidence_verified": run.evidence_verified,
        ROW_HASH: row_sha256(run, RUN_COLUMNS),
    }
    if run.outcome is RunOutcome.DONE:
        return EventType.RUN_DONE, {**details, "verdict": run.verdict.value, "p_fake": run.p_fake}
    return EventType.RUN_FAILED, {**details, "failure_code": run.failure_code}


def bound_in_part(event: AuditEvent) -> bool:
    """It was written before events had the row's hash."""
    return ROW_HASH not in event.details


def run_fault(run: Any, ends: Sequence[AuditEvent]) -> str | None:
    """What is wrong with a run's row, given the events that name it as ended; None where nothing is."""
    if len(ends) != 1:
        return f"{len(ends)} events tell of its end, not one"
    kind, details = end_of(run)
    told = {"analysis_id": ends[0].analysis_id, "requested_by": ends[0].actor, "outcome": ends[0].event_type}
    stored = {"analysis_id": run.analysis_id, "requested_by": run.requested_by, "outcome": kind}
    return _fault(
        "it differs from the event of its end in", [*_differing(told, stored), *_untold(ends[0], details)]
    )


def record_fault(record: Any, told: Told, last_run: Any | None) -> str | None:
    """What is wrong with a record's row; None where nothing is. `last_run`: of the run that `told.end` names."""
    if len(told.receipts) != 1:
        return f"{len(told.receipts)} events tell of its receipt, not one"
    receipt = told.receipts[0]
    by = _differing({"created_by": receipt.actor}, {"created_by": record.created_by})
    return (
        _fault("it differs from the event of its receipt in", [*by, *_untold(receipt, receipt_of(record))])
        or _keeping_fault(record, told)
        or _shown_fault(record, told, last_run)
    )


def _keeping_fault(record: Any, told: Told) -> str | None:
    """Erasure and hold: by whom and why; the times of row and event are some microseconds apart."""
    erased = [(record.erased_by, record.erasure_reason)] if record.erased_at is not None else []
    if erased != [(event.actor, event.details.get("reason")) for event in told.erasures]:
        return "its erasure is not as the trail tells it"
    placed = told.hold if told.hold is not None and told.hold.event_type is EventType.HOLD_PLACED else None
    held = (record.held_by, record.hold_reason) if record.held_at is not None else None
    if held != (None if placed is None else (placed.actor, placed.details.get("reason"))):
        return "its hold is not as the trail tells it"
    return None


def _shown_fault(record: Any, told: Told, last_run: Any | None) -> str | None:
    """The finding that a record shows is that of the run that ended last, also while the next one is under way."""
    under_way = record.status in UNDER_WAY
    shown: Mapping[str, Any] = BEFORE_ANY_RUN
    if told.end is None:
        if not under_way and record.status is not Status.UPLOADED:
            return "it shows the end of a run that the trail does not tell of"
    elif last_run is None or last_run.analysis_id != record.id:
        return f"its newest run {told.end.details.get('run_id')} is not among its runs"
    elif under_way == (record.run_id == last_run.id):  # under way is another run, and at rest it is that one
        return f"it does not name {last_run.id} as the run that ended last"
    else:
        left_out = OWN_TO_THE_RECORD | (CLEARED_BY_A_REQUEST if under_way else frozenset())
        shown = {name: it for name, it in newest_columns(last_run, None).items() if name not in left_out}
    return _fault("it does not show what its newest run has:", _differing(shown, record))


def _untold(event: AuditEvent, details: Mapping[str, Any]) -> list[str]:
    """Names of what `event` says otherwise; a row's hash that it does not have is no difference."""
    told = {name: event.details.get(name) for name in details if name != ROW_HASH or not bound_in_part(event)}
    return _differing(told, details)


def _differing(expected: Mapping[str, Any], found: Any) -> list[str]:
    def of(name: str) -> Any:
        return found[name] if isinstance(found, Mapping) else getattr(found, name)

    return [
        name
        for name, value in expected.items()
        if value != of(name) and canonical(value) != canonical(of(name))  # 1 is 1.0, and NaN is NaN
    ]


def _fault(words: str, names: Sequence[str]) -> str | None:
    return f"{words} {', '.join(names)}" if names else None
