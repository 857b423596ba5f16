"""Bytes in the store that no record names: left by a process that was killed between storing them and its commit.

    found = orphans(database, store, utc_now())                     # tells; removes nothing
    found = orphans(database, store, utc_now(), remove=True)

Nothing but an operator's command removes them (docs/adr/0035): a database restored from an older backup, or the wrong
one, makes evidence look like this.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

import structlog

from app.analysis import repository as records
from app.audit import repository as audit
from app.audit.models import EventType
from app.database import Database
from app.errors import AppError
from app.evidence.store import EvidenceStore, Stored
from app.retention import repository

SAFE_AGE = timedelta(days=7)
"""Longer than any upload, and than it takes to notice that a database came back from an older backup."""
ACTOR = "system:orphans"
HASHES_A_STEP = 500

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Orphans:
    named: int
    """Of what lies in the store longer than SAFE_AGE: what a record names, be it erased."""
    orphans: int
    orphan_bytes: int
    removed: int
    failed: int
    """Could not be removed; the log says why."""
    refused: bool
    """There are more orphans than named ones, so the database may be the wrong one: nothing was removed."""


def orphans(database: Database, store: EvidenceStore, now: datetime, *, remove: bool = False) -> Orphans:
    """Each one is logged with its hash. Safe beside requests. Raises what the store raises."""
    named, found = 0, list[Stored]()
    old = (stored for stored in store.stored() if stored.changed_at < now - SAFE_AGE)
    for step in _steps(old):
        with database.read() as session:
            known = repository.named(session, {stored.sha256 for stored in step})
        without = [stored for stored in step if stored.sha256 not in known]
        named += len(step) - len(without)
        found += without
    for stored in found:
        log.warning("evidence_without_record", sha256=stored.sha256, size_bytes=stored.size_bytes)
    refused = remove and len(found) > named
    removed = failed = 0
    for sha256 in {stored.sha256 for stored in found} if remove and not refused else ():
        try:
            removed += _remove(database, store, sha256)
        except (OSError, AppError) as error:
            failed += 1
            log.error("orphan_not_removed", sha256=sha256, error=str(error))
    size_bytes = sum(stored.size_bytes for stored in found)
    return Orphans(named, len(found), size_bytes, removed, failed, refused)


def _remove(database: Database, store: EvidenceStore, sha256: str) -> bool:
    """False where a record names it now. The audit trail tells of its removal."""
    with database.write() as session:
        records.lock_evidence(session, sha256)
        if repository.named(session, [sha256]):
            return False
        store.delete(sha256)
        audit.append(session, EventType.ORPHAN_REMOVED, actor=ACTOR, analysis_id=None, details={"sha256": sha256})
        return True


def _steps(stored: Iterator[Stored]) -> Iterator[list[Stored]]:
    while step := list(islice(stored, HASHES_A_STEP)):
        yield step
