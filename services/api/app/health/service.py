"""Is everything there that work needs?"""

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.database import Database
from app.errors import AppError, EvidenceUnavailableError, NoWorkersError, QueueFullError, StorageFullError
from app.state import ServiceState

OK = "ok"

log = structlog.get_logger(__name__)


def checks(state: ServiceState) -> dict[str, str]:
    """Each part and `ok`, or a word on what is missing. Details go to the log: anybody may ask."""
    return {
        "database": database_check(state.database),
        "evidence_store": _evidence_store(state),
        "model": _model(state),
        "queue": _queue(state),
    }


def database_check(database: Database) -> str:
    try:
        database.ping()
    except SQLAlchemyError as error:
        log.warning("database_not_ready", error=str(error))
        return "unreachable or not migrated"
    try:
        database.check_writes()
    except SQLAlchemyError as error:
        log.warning("database_not_ready", error=str(error))
        return "takes no writes"
    return OK


def _evidence_store(state: ServiceState) -> str:
    try:
        state.store.check_writable()
    except (AppError, OSError) as error:
        return store_trouble(error, full="no room for uploads", otherwise="not writable")
    return OK


def store_trouble(error: AppError | OSError, *, full: str, otherwise: str) -> str:
    """The word on a store that fails so; of one that is away its own, which names neither a path nor an address."""
    log.warning("evidence_store_not_ready", error=str(error))
    if isinstance(error, EvidenceUnavailableError):
        return str(error)
    return full if isinstance(error, StorageFullError) else otherwise


def _model(state: ServiceState) -> str:
    if state.reloader.loaded:  # at the start, or since by a reload
        return OK
    return "could not be loaded" if state.reloader.first_load_failed else "loading"


def _queue(state: ServiceState) -> str:
    try:
        state.queue.check_able()
    except QueueFullError:
        return "full"
    except NoWorkersError:
        return "no worker is alive"
    except SQLAlchemyError:
        return "the database does not tell"
    return OK
