"""Records and runs in the database, compared with what the audit chain tells of them (`app.audit.agreement`).

    found = check_rows(database)               # all of them, for `verify` and GET /v1/audit/chain
    require_record(session, record)            # this one, before something is stated of it; require_run as well

In steps of so many rows, each step on one consistent state: memory does not grow with the database, and a service may
work beside it.
"""

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import structlog
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from app.analysis import repository as records
from app.analysis.models import AnalysisRecord
from app.audit import repository as audit
from app.audit.agreement import (
    ENDS,
    TOLD_OF_RECORDS,
    Told,
    bound_in_part,
    record_fault,
    run_fault,
    told_by,
)
from app.audit.models import AuditEvent, EventType
from app.database import Database
from app.errors import RecordAlteredError
from app.runs import repository as runs
from app.runs.models import DetectorRun

RECORDS_A_STEP = 500
RUNS_A_STEP = 50
"""Of a three-hour recording a run has more than 5,000 windows."""
EVENTS_A_STEP = 1_000
UNREADABLE = (ValueError, LookupError, TypeError, DataError)
"""What reading a row raises whose values are none of their column's kind, as only someone in the database can write."""
CANT_BE_READ = "it holds what can't be read"
ADVICE = "changed in the database itself: keep this one for whoever looks into it, and restore a backup of before"

T = TypeVar("T")
Id: TypeAlias = uuid.UUID

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RowCheck:
    records_altered: int
    """Records that are not what the trail tells of them, are missing, or of whose receipt it does not tell."""
    runs_altered: int
    """The same of runs and their ends."""
    bound_in_part: int
    """Records and runs whose events are of before these had the whole row's hash: only what they name was compared."""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    row: Any
    told: Told
    last_run: Any | None


@dataclass(frozen=True, slots=True)
class StoredRun:
    row: Any
    ends: Sequence[AuditEvent]


def check_rows(database: Database) -> RowCheck:
    """Each row that is not in order is logged with its id."""
    records_altered = runs_altered = in_part = 0
    for ids in _steps(database, records.ids_after, RECORDS_A_STEP):
        found, faults = _read(database, _stored_records, ids)
        faults |= {it.row.id: record_fault(it.row, it.told, it.last_run) for it in found}
        records_altered += _tell("record_altered", "analysis_id", faults)
        in_part += sum(any(map(bound_in_part, it.told.receipts)) for it in found)
    for ids in _steps(database, runs.ids_after, RUNS_A_STEP):
        ended, faults = _read(database, _stored_runs, ids)
        faults |= {it.row.id: run_fault(it.row, it.ends) for it in ended}
        runs_altered += _tell("run_altered", "run_id", faults)
        in_part += sum(any(map(bound_in_part, it.ends)) for it in ended)
    for event in _without_row(database):
        of_run = event.event_type in ENDS
        records_altered, runs_altered = records_altered + (not of_run), runs_altered + of_run
        named = {"run_id": str(_run_of(event))} if of_run else {"analysis_id": str(event.analysis_id)}
        log.error("run_missing" if of_run else "record_missing", **named, told_by=event.sequence, advice=ADVICE)
    return RowCheck(records_altered, runs_altered, in_part)


def require_record(session: Session, record: AnalysisRecord) -> None:
    """Raises RecordAlteredError where the record is not what the trail tells of it.

    `session` is one of `Database.read`: where it saw what others commit, a run that ends meanwhile looked like a fault.
    """
    told = _told(session, [record.id])[record.id]
    last_id = _run_of(told.end)
    last_run = runs.get(session, last_id) if last_id is not None else None
    _refuse(f"record {record.id}", record_fault(record, told, last_run))


def require_run(session: Session, run: DetectorRun) -> None:
    """Raises RecordAlteredError where the run is not what the trail tells of it."""
    _refuse(f"run {run.id}", run_fault(run, audit.of_runs(session, [run.analysis_id], [run.id], ENDS)))


def _refuse(what: str, fault: str | None) -> None:
    if fault is not None:
        raise RecordAlteredError(
            f"the {what} in the database is not what the audit trail tells of it: {fault}. Nothing is stated of it: an "
            "operator must look (`python -m app verify` names all that was altered) and restore a backup"
        )


def _stored_records(session: Session, analysis_ids: Sequence[Id]) -> list[StoredRecord]:
    rows = records.stored(session, analysis_ids)
    told = _told(session, analysis_ids)
    ended = {it: _run_of(told[it].end) for it in analysis_ids}
    last_runs = {row.id: row for row in runs.stored(session, set(filter(None, ended.values())), short=True)}
    return [StoredRecord(row, told[row.id], last_runs.get(ended[row.id])) for row in rows]


def _stored_runs(session: Session, run_ids: Sequence[Id]) -> list[StoredRun]:
    rows = runs.stored(session, run_ids)
    ends = defaultdict[Id | None, list[AuditEvent]](list)
    for event in audit.of_runs(session, {row.analysis_id for row in rows}, run_ids, ENDS):
        ends[_run_of(event)].append(event)
    return [StoredRun(row, ends[row.id]) for row in rows]


def _told(session: Session, analysis_ids: Sequence[Id]) -> dict[Id, Told]:
    events = defaultdict[Id | None, list[AuditEvent]](list)
    for event in audit.of_analyses(session, analysis_ids, TOLD_OF_RECORDS):
        events[event.analysis_id].append(event)
    ends = {event.analysis_id: event for event in audit.newest_of_analyses(session, analysis_ids, ENDS)}
    return {it: told_by(events[it], ends.get(it)) for it in analysis_ids}


def _without_row(database: Database) -> Iterator[AuditEvent]:
    """Events of receipts and of runs' ends whose record or run is not in the database."""
    last = 0
    while True:
        with database.read() as session:
            step = audit.after(session, last, (EventType.EVIDENCE_RECEIVED, *ENDS), EVENTS_A_STEP)
            received = {it.analysis_id for it in step if it.event_type not in ENDS}
            known_records = records.known(session, set(filter(None, received)))
            known_runs = runs.known(session, set(filter(None, map(_run_of, step))))
        if not step:
            return
        for event in step:
            of_run = event.event_type in ENDS
            if _run_of(event) not in known_runs if of_run else event.analysis_id not in known_records:
                yield event
        last = step[-1].sequence


def _run_of(event: AuditEvent | None) -> Id | None:
    """The run that the event names; None where it names none, as no event of ours."""
    try:
        return uuid.UUID(event.details["run_id"]) if event is not None else None
    except (LookupError, ValueError):
        return None


def _tell(event: str, key: str, faults: Mapping[Id, str | None]) -> int:
    """Log those that have a fault; how many."""
    found = {it: fault for it, fault in faults.items() if fault is not None}
    for it, fault in found.items():
        log.error(event, **{key: str(it)}, fault=fault, advice=ADVICE)
    return len(found)


def _steps(
    database: Database, ids_after: Callable[[Session, Id | None, int], Sequence[Id]], limit: int
) -> Iterator[Sequence[Id]]:
    last = None
    while True:
        with database.read() as session:
            step = ids_after(session, last, limit)
        if not step:
            return
        yield step
        last = step[-1]


def _read(
    database: Database, load: Callable[[Session, Sequence[Id]], list[T]], ids: Sequence[Id]
) -> tuple[list[T], dict[Id, str | None]]:
    """What `load` reads of `ids`, and the fault of those at which it fails: then they are read one by one."""
    try:
        with database.read() as session:
            return load(session, ids), {}
    except UNREADABLE:
        if len(ids) == 1:
            return [], {ids[0]: CANT_BE_READ}
    found, faults = list[T](), dict[Id, str | None]()
    for one in ids:
        more, unreadable = _read(database, load, [one])
        found += more
        faults |= unreadable
    return found, faults
