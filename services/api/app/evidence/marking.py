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
from app.evidence.store import FULL_ERRNOS, MARK_NAME, EvidenceStore, FolderStore, NoStoreError

LOOKED_FOR = 500
"""Of the evidence that the records name: where not one of so many is there, this is another folder."""
LOST = "lost"
"""An operator's word in place of a mark: this is to be the folder, though it holds nothing of what the records name."""
UNKNOWN = "the database does not tell which folder is the one of its evidence"
MAKE_ROOM = (
    "make room and start the service again: until then a volume that is not mounted looks as if it were empty"
)

log = structlog.get_logger(__name__)


def settle(database: Database, store: FolderStore) -> None:
    """Mark the folder, or see that it has the mark that is remembered; then make what is missing in it.

    Where the database remembers none, database and folder are new or of a version before marks: the latter hold some of
    what the records name, whether or not somebody else marked the folder, who may be the one that it belongs to.
    The mark is durable before the database remembers it, never the reverse. A folder on a full disk stays without until
    a later start: what it holds can be served, examined and erased.
    Raises NoStoreError where the folder is not this database's; nothing was made in it then.
    """
    with database.read() as session:
        remembered = repository.folder_mark(session)
        named = [] if remembered else repository.some_named(session, LOOKED_FOR)
    found = _mark_of(store)
    if remembered is None:
        if named and found != LOST and not any(store.has(sha256) for sha256 in named):
            raise NoStoreError(
                f"{store.local_folder} holds nothing of the evidence that the records name: mount its volume, or name "
                f"its folder in EARWITNESS_EVIDENCE_DIR. Only if that evidence is lost for good, write the word {LOST} "
                f"into the file {MARK_NAME} in a folder of its own: then the service starts and says that it is missing"
            )
        if found is None or found == LOST:
            found = uuid.uuid4().hex
            try:
                store.set_mark(found)
            except OSError as error:
                if error.errno not in FULL_ERRNOS:
                    raise
                log.warning("evidence_folder_not_marked", error=str(error), advice=MAKE_ROOM)
                store.make_folders()
                return
        with database.write() as session:
            remembered = repository.note_folder(session, found)
        log.info("evidence_folder_marked", mark=remembered)
    known = remembered
    store.expect(lambda: known)
    _require_there(store, known)
    store.make_folders()


def expect(database: Database, store: EvidenceStore) -> None:
    """As `settle`, of a process that only reads there: what the database remembers holds, as soon as it does.

    Until it is known, a database that does not answer leaves nothing to be said of the folder: it counts as away.
    Raises NoStoreError, or EvidenceUnavailableError where the database does not answer.
    """
    if not isinstance(store, FolderStore):
        return
    known: str | None = None

    def remembered() -> str | None:
        nonlocal known
        if known is None:  # once noted it never changes
            try:
                with database.read() as session:
                    known = repository.folder_mark(session)
            except SQLAlchemyError as error:
                log.warning("evidence_folder_unknown", error=str(error))  # which may name the database's address
                raise EvidenceUnavailableError(UNKNOWN) from error
        return known

    store.expect(remembered)
    if (mark := remembered()) is not None:
        _require_there(store, mark)


def _mark_of(store: FolderStore) -> str | None:
    try:
        return store.mark()
    except OSError as error:
        raise NoStoreError(
            f"the file {MARK_NAME} in {store.local_folder} can't be read ({error.strerror}): it must be a file that "
            "the service's user can read"
        ) from error


def _require_there(store: FolderStore, mark: str) -> None:
    try:
        store.check_there()
    except EvidenceUnavailableError as error:
        raise NoStoreError(
            f"{store.local_folder}: {error}. Only if this is the folder of this database's evidence all the same, "
            f"write {mark} into the file {MARK_NAME} in it, so that the service's user can read it"
        ) from error
