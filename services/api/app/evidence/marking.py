"""Whether the folder of evidence is the one that this database belongs to: a mark in it, remembered by the database.

    settle(database, store)       # the service, at its start: mark the folder the first time, compare it ever after
    expect(database, store)       # beside a service, which settles it: workers and commands

A folder whose volume is not mounted looks as if all its evidence had been removed. With the mark the store can tell
(docs/adr/0063): without it, or with another one, it is away, and nothing is missing.
"""

import uuid

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.database import Database
from app.errors import EvidenceUnavailableError
from app.evidence import repository
from app.evidence.store import MARK_NAME, EvidenceStore, FolderStore, NoStoreError

LOOKED_FOR = 500
"""Of the evidence that the records name: where not one of so many is there, this is another folder."""

log = structlog.get_logger(__name__)


def settle(database: Database, store: FolderStore) -> None:
    """Mark the folder, or see that it has the mark that is remembered; then make what is missing in it.

    A folder without a mark that the database remembers none of is new, or of a version before marks: the latter holds
    some of what the records name. The mark is durable before the database remembers it, never the reverse.
    Raises NoStoreError where the folder is not this database's; nothing was made in it then.
    """
    with database.read() as session:
        remembered = repository.folder_mark(session)
        named = [] if remembered else repository.some_named(session, LOOKED_FOR)
    found = store.mark()
    if remembered is None:
        if found is None and named and not any(store.has(sha256) for sha256 in named):
            raise NoStoreError(
                f"{store.local_folder} holds no evidence, but the records name some: mount its volume, or name its "
                "folder in EARWITNESS_EVIDENCE_DIR. Only if that evidence is lost for good, write a word of your own "
                f"into the file {MARK_NAME} in it: then the service starts, and tells that it is missing"
            )
        if found is None:
            found = uuid.uuid4().hex
            store.set_mark(found)
        with database.write() as session:
            remembered = repository.note_folder(session, found)
        log.info("evidence_folder_marked", mark=remembered)
    known = remembered
    store.expect(lambda: known)
    _require_there(store, known)
    store.make_folders()


def expect(database: Database, store: EvidenceStore) -> None:
    """As `settle`, of a process that only reads there: what the database remembers holds, as soon as it does.

    Raises NoStoreError.
    """
    if not isinstance(store, FolderStore):
        return

    def remembered() -> str | None:
        try:
            with database.read() as session:
                return repository.folder_mark(session)
        except (
            SQLAlchemyError
        ) as error:  # asked on the way to another error, which must not be replaced by this one
            log.warning("evidence_folder_unknown", error=str(error))
            return None

    store.expect(remembered)
    _require_there(store, remembered())


def _require_there(store: FolderStore, mark: str | None) -> None:
    try:
        store.check_there()
    except EvidenceUnavailableError as error:
        raise NoStoreError(
            f"{store.local_folder}: {error}. Only if this is the folder of this database's evidence all the same, "
            f"write {mark} into the file {MARK_NAME} in it"
        ) from error
