"""Erasing evidence, and holding it.

    with database.write() as session:
        record = erase(session, user.name, analysis_id, reason)   # the promise, on record and in the audit chain
    remove_bytes(database, store, record.sha256)                  # its fulfilment; `sweep` makes up for a failed one

First the row, then the bytes: a crash in between leaves bytes that nobody can reach and that the next sweep removes,
and never a record without the evidence that it claims to have.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from app.analysis import repository as records
from app.analysis import service as analyses
from app.analysis.models import AnalysisRecord
from app.audit import repository as audit
from app.audit.models import EventType
from app.database import Database
from app.errors import AppError, EvidenceHeldError, RunUnderWayError
from app.evidence.store import EvidenceStore
from app.orm import utc_now
from app.retention import repository

RETENTION_ACTOR = "system:retention"
"""Who erases what was kept long enough. No user can have this name: theirs hold no colon."""
ERASED_A_STEP = 100  # one question to the database for so many

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sweep:
    erased: int
    """Analyses whose evidence was kept long enough."""
    removed: int
    """Hashes whose bytes the store gave up."""
    failed: int
    """Hashes whose bytes could not be removed; the log says why, the next sweep tries again."""


def erase(session: Session, by: str, analysis_id: uuid.UUID, reason: str) -> AnalysisRecord:
    """Raises AnalysisNotFoundError, EvidenceErasedError, EvidenceHeldError and RunUnderWayError."""
    record = repository.erase(session, analysis_id, by=by, reason=reason, at=utc_now())
    if record is None:
        found = analyses.require_evidence(session, analysis_id)
        if found.held_at is not None:
            raise EvidenceHeldError(f"{found.held_by} holds this evidence: {found.hold_reason}")
        raise RunUnderWayError(f"a run of this analysis is {found.status.lower()}: wait for its end")
    audit.append(
        session,
        EventType.EVIDENCE_ERASED,
        actor=by,
        analysis_id=analysis_id,
        details={"sha256": record.sha256, "reason": reason},
    )
    return record


def remove_bytes(database: Database, store: EvidenceStore, sha256: str) -> bool:
    """Remove the bytes unless another analysis needs them; whether they are gone. Raises what the store raises."""
    with database.write() as session:
        records.lock_evidence(session, sha256)
        if records.referenced(session, [sha256]):
            return False
        store.delete(sha256)
        repository.note_removal(session, sha256, utc_now())
        return True


def set_hold(session: Session, by: str, analysis_id: uuid.UUID, *, held: bool, reason: str) -> AnalysisRecord:
    """Place or release a hold, for a reason either way. Raises AnalysisNotFoundError and EvidenceErasedError."""
    record = repository.set_hold(
        session,
        analysis_id,
        at=utc_now() if held else None,
        by=by if held else None,
        reason=reason if held else None,
    )
    if record is None:
        return analyses.require_evidence(session, analysis_id)  # raises: it was erased, or is not there
    event = EventType.HOLD_PLACED if held else EventType.HOLD_RELEASED
    audit.append(session, event, actor=by, analysis_id=analysis_id, details={"reason": reason})
    return record


def sweep(
    database: Database,
    store: EvidenceStore,
    retention: timedelta | None,
    now: datetime,
    *,
    finished_too: bool = False,
    stopping: Callable[[], bool] = lambda: False,
) -> Sweep:
    """Erase what was kept for `retention`, and remove the bytes of every erasure that is not finished yet.

    With `finished_too` those of the finished ones as well: a backup of the store may have brought them back.

    Safe beside requests and other sweeps: of several that find the same evidence, one erases it.
    """
    erased = 0 if retention is None else _erase_due(database, retention, now, stopping)
    with database.read() as session:
        unfinished = repository.unfinished(session, finished_too=finished_too)
    removed = failed = 0
    for sha256 in unfinished:
        if stopping():
            break
        try:
            removed += remove_bytes(database, store, sha256)
        except (OSError, AppError) as error:  # a store that is away; the rest may be removable
            failed += 1
            log.error("evidence_not_removed", sha256=sha256, error=str(error))
    done = Sweep(erased, removed, failed)
    if done != Sweep(0, 0, 0):
        log.info("retention_sweep", erased=erased, removed=removed, failed=failed)
    return done


def _erase_due(database: Database, retention: timedelta, now: datetime, stopping: Callable[[], bool]) -> int:
    erased = 0
    reason = f"kept for {retention.total_seconds() / 86_400:g} days, as EARWITNESS_EVIDENCE_RETENTION says"
    while True:
        with database.read() as session:
            found = repository.due(session, now - retention, ERASED_A_STEP)
        for analysis_id in found:
            try:
                with database.write() as session:
                    erase(session, RETENTION_ACTOR, analysis_id, reason)
                    erased += 1
            except AppError:  # a hold, a run or another sweep came first
                continue
        if len(found) < ERASED_A_STEP or stopping():
            return erased
