"""Does everything that the database claims to have lie in the store, unaltered, and nothing that was erased? And does
the database itself say what its audit trail tells?

    found = verify(database, store)      # reads every byte of the evidence: minutes a hundred gigabytes

For operators, after a restore above all: a database and a store of different days show here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from app.audit.chain import check_chain
from app.audit.repository import whole_chain
from app.audit.rows import check_rows
from app.database import Database
from app.errors import EvidenceAlteredError, EvidenceMissingError
from app.evidence.store import EvidenceStore
from app.retention import repository

HASHES_A_STEP = 500

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Verification:
    verified: int
    """Hashes whose bytes lie in the store and still have them."""
    missing: int
    altered: int
    erased_but_there: int
    """Hashes of erased evidence that the store has, though nobody should: it came back from a backup."""
    audit_events: int
    audit_intact: bool
    last_hash: str
    """Of the audit trail: compare it with the one that was written down."""
    records_altered: int
    runs_altered: int
    bound_in_part: int
    """These three are those of `app.audit.rows.RowCheck`."""

    @property
    def in_order(self) -> bool:
        stored = not (self.missing or self.altered or self.erased_but_there)
        return stored and self.audit_intact and not (self.records_altered or self.runs_altered)


def verify(database: Database, store: EvidenceStore) -> Verification:
    """Each thing that is not in order is logged with its hash or id."""
    verified = missing = altered = erased_but_there = 0
    for sha256, erased in _hashes(database):
        try:
            store.verify(sha256)
        except EvidenceMissingError:
            if not erased:
                missing += 1
                log.error("evidence_missing", sha256=sha256)
            continue
        except EvidenceAlteredError as error:
            if not erased:
                altered += 1
                log.error("evidence_altered", sha256=sha256, actual_sha256=error.actual_sha256)
                continue
        if erased:
            erased_but_there += 1
            log.error("evidence_erased_but_there", sha256=sha256, advice="python -m app retention removes it")
        else:
            verified += 1
    with database.read() as session:
        chain = check_chain(whole_chain(session))
    if not chain.intact:
        log.error("audit_chain_broken", sequence=chain.broken_at)
    rows = check_rows(database)
    return Verification(
        verified=verified,
        missing=missing,
        altered=altered,
        erased_but_there=erased_but_there,
        audit_events=chain.events,
        audit_intact=chain.intact,
        last_hash=chain.last_hash,
        records_altered=rows.records_altered,
        runs_altered=rows.runs_altered,
        bound_in_part=rows.bound_in_part,
    )


def _hashes(database: Database) -> Iterator[tuple[str, bool]]:
    """Every hash once, in order, and whether no analysis has it as its evidence any more."""
    last = ""
    while True:
        with database.read() as session:
            step = repository.hashes_after(session, last, HASHES_A_STEP)
        if not step:
            return
        yield from step
        last = step[-1][0]
