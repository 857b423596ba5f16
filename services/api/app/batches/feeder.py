"""Feeding batches to the queue: a few runs ahead of the workers, in order, whatever is killed in between.

    feeder = BatchFeeder()
    feeder.start(state)
    feeder.wake()                # there is a new batch
    feeder.close()

One thread a service; of several services on one PostgreSQL one feeds at a time. Each step is a transaction that holds
the batch's row and moves its counters along with the item, so it is done once, and the database is all that is needed
to go on. Only so many runs are in the queue that its workers don't wait, and people's own runs go before them: a batch
of a million takes no room in it.

What goes wrong with one item costs that item, what goes wrong with one list that batch, and what nobody foresaw holds
up that batch and no other.
"""

import contextlib
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from itertools import islice

import structlog
from sqlalchemy.orm import Session

from app.batches import imports, intake, repository, service
from app.batches.models import Batch, BatchItem, BatchStatus, ItemState
from app.database import DATABASE_AWAY
from app.errors import (
    OUTAGES,
    AnalysisNotFoundError,
    AppError,
    DatabaseUnavailableError,
    EvidenceErasedError,
    QueueFullError,
    RunInterruptedError,
    RunUnderWayError,
    ShuttingDownError,
    TooManyRequestsError,
    code_of,
)
from app.identity.user import Role, User
from app.quotas.models import Kind
from app.runs import service as runs
from app.runs.models import RunOutcome
from app.runs.queue import Priority
from app.state import ServiceState
from app.threads import wait_for_end
from earwitness.errors import EarwitnessError
from earwitness.path_set import PathSet

ACTIVE_S = 0.2  # from one look to the next while a batch is open: a few queries
IDLE_S = 5.0  # another service on the same database may have taken a batch in
TROUBLE_S = 5.0
OUTAGE_S = 15.0
"""Before a batch asks again for evidence that can't be kept or had: an attempt may take half a minute."""
QUOTA_S = 60.0
"""The longest before a batch that waits for its user's quota asks again: a clock may have been set."""
SETTLED_AT_ONCE = 500  # a transaction stays short
LISTED_AT_ONCE = 1_000
MAX_ATTEMPTS = 3
"""How often an item is begun whose runs end so: a recording that takes the service down must not loop."""
AGAIN_CODES = frozenset({RunInterruptedError.code, *(error.code for error in OUTAGES)})
"""How runs end that say nothing of their recording."""
MAX_TRIES = 3
"""How often is tried what fails in a way that may pass (a disk) or that nobody foresaw (a bug), TROUBLE_S apart."""
LISTING = -1
"""Stands for the list where else an item's position does."""

NOT_NOW = (
    QueueFullError,
    ShuttingDownError,
    TooManyRequestsError,
    DatabaseUnavailableError,
    RunInterruptedError,
    *OUTAGES,
)
"""Nothing is wrong with the item: it waits."""
OF_THE_ITEM = (AnalysisNotFoundError, EvidenceErasedError, RunUnderWayError)

log = structlog.get_logger(__name__)


class BatchFeeder:
    def __init__(self) -> None:
        self._not_before: dict[tuple[uuid.UUID, str], float] = {}
        """When a step of a batch is to be tried again, on the monotonic clock."""
        self._tries: Counter[tuple[uuid.UUID, int]] = Counter()
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, state: ServiceState) -> None:
        self._state = state
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        self._wanted.set()

    def close(self) -> None:
        """Waits for the step that is under way."""
        self._stopped.set()
        self._wanted.set()
        if self._thread is not None:
            wait_for_end(self._thread)

    def _work(self) -> None:
        while not self._stopped.is_set():
            try:
                pause_s = ACTIVE_S if self._look() else IDLE_S
            except (*NOT_NOW, *DATABASE_AWAY) as error:
                log.warning("batches_wait", error=str(error))
                pause_s = TROUBLE_S
            except Exception:  # whatever it was, the next look may be better; nobody else would hear of it
                log.exception("batches_failed")
                pause_s = TROUBLE_S
            self._wanted.wait(pause_s)
            self._wanted.clear()

    def _look(self) -> bool:
        """Settle what ended and enter what fits; whether any batch is open."""
        with self._state.database.read() as gate:
            if not repository.may_feed(gate):
                return False
            with self._state.database.read() as session:
                found = repository.unfinished(session)
            self._forget_all_but({batch.id for batch in found})
            for step in (self._settle, self._feed):  # all are settled first: a full queue ends the feeding of all
                for batch in found:
                    self._do(step, batch)
            return bool(found)

    def _do(self, step: Callable[[Batch], None], batch: Batch) -> None:
        """What goes wrong with one batch holds up no other. Raises what concerns all of them."""
        key = (batch.id, step.__name__)
        if self._stopped.is_set() or time.monotonic() < self._not_before.get(key, 0.0):
            return
        try:
            step(batch)
        except TooManyRequestsError as error:  # this user's quota
            log.info("batch_waits_for_quota", batch_id=str(batch.id), error=str(error))
            wait_s = min(float(error.headers["Retry-After"]), QUOTA_S)
            self._not_before[key] = time.monotonic() + wait_s
        except OUTAGES as error:  # a batch whose evidence is kept already may go on
            log.warning("batch_waits_for_store", batch_id=str(batch.id), error=str(error))
            self._not_before[key] = time.monotonic() + OUTAGE_S
        except (*NOT_NOW, *DATABASE_AWAY):
            raise
        except Exception:
            log.exception("batch_held_up", batch_id=str(batch.id), step=step.__name__)
            self._not_before[key] = time.monotonic() + TROUBLE_S

    def _forget_all_but(self, batches: set[uuid.UUID]) -> None:
        self._not_before = {key: until_s for key, until_s in self._not_before.items() if key[0] in batches}
        self._tries = Counter({key: tries for key, tries in self._tries.items() if key[0] in batches})

    def _feed(self, batch: Batch) -> None:
        if batch.status is BatchStatus.PREPARING:
            self._list(batch)
        self._begin_again(batch.id)
        while self._has_room() and self._enter_next(batch.id):
            pass

    def _has_room(self) -> bool:
        return not self._stopped.is_set() and self._state.queue.depth() < self._state.settings.batch_ahead

    def _list(self, batch: Batch) -> None:
        """Write down what the batch is made of; anew where that was not finished, since nothing was begun yet."""
        seen, position = PathSet(), 0
        with self._state.database.write() as session:
            row = service.require(session, batch.id, locked=True)
            if row.status is not BatchStatus.PREPARING:
                return  # cancelled
            row.total = row.duplicates = 0
            repository.remove_items(session, batch.id)
        try:
            names = imports.listed(self._state.settings.import_dir, batch.import_path or "")
            while block := list(islice(names, LISTED_AT_ONCE)):
                new = [name for name in block if seen.add(name)]
                with self._state.database.write() as session:
                    row = service.require(session, batch.id, locked=True)
                    if row.status is not BatchStatus.PREPARING or self._stopped.is_set():
                        return
                    if new:
                        service.add_paths(session, batch.id, position, new)
                    position += len(new)
                    row.total, row.duplicates = position, row.duplicates + len(block) - len(new)
        except DATABASE_AWAY:
            raise
        except (EarwitnessError, AppError) as error:
            self._list_failed(batch.id, error)
            return
        except Exception as error:
            self._try_again((batch.id, LISTING), error)
            folder = self._state.settings.import_dir
            self._list_failed(
                batch.id, imports.unreadable(folder, error) if isinstance(error, OSError) else _unforeseen()
            )
            return
        with self._state.database.write() as session:
            row = service.require(session, batch.id, locked=True)
            if row.status is BatchStatus.PREPARING:
                row.status = BatchStatus.RUNNING
                service.close_if_finished(session, row)

    def _list_failed(self, batch_id: uuid.UUID, error: EarwitnessError | AppError) -> None:
        with self._state.database.write() as session:
            row = service.require(session, batch_id, locked=True)
            if row.status is BatchStatus.PREPARING:
                row.status, row.failure_code = BatchStatus.FAILED, code_of(error)
                row.failure_message = imports.shown(str(error))  # it may name the list, by a name that is no text
                service.close_if_finished(session, row)

    def _try_again(self, key: tuple[uuid.UUID, int], error: Exception) -> None:
        """Raises `error`, so that the batch is held up and then tried again, until that was tried often enough."""
        self._tries[key] += 1
        if self._tries[key] < MAX_TRIES:
            raise error
        log.error("batch_try_given_up", batch_id=str(key[0]), position=key[1], exc_info=error)

    def _enter_next(self, batch_id: uuid.UUID) -> bool:
        """False where there is nothing to enter. Raises NOT_NOW, and OSError where the service's own disk fails."""
        state = self._state
        with state.database.read() as session:
            batch = service.require(session, batch_id)
            item = repository.item(session, batch_id, batch.entered)
        if batch.status is not BatchStatus.RUNNING or item is None:
            return False
        failure: EarwitnessError | AppError | None = None
        analysis_id = item.analysis_id
        try:
            if analysis_id is None and item.state is ItemState.WAITING:
                analysis_id = self._take_in(batch, item)
        except (*NOT_NOW, *DATABASE_AWAY, OSError):
            raise
        except (EarwitnessError, AppError) as error:
            failure = error
        except Exception as error:
            self._try_again((batch_id, item.position), error)
            failure = _unforeseen()
        with state.database.write() as session:
            batch = service.require(session, batch_id, locked=True)
            row = repository.item(session, batch_id, item.position)
            if batch.status is not BatchStatus.RUNNING or batch.entered != item.position or row is None:
                return True  # cancelled, or entered by another service meanwhile
            if row.state is ItemState.WAITING:  # else it has failed as it was listed
                row.analysis_id = analysis_id
                if failure is None:
                    failure = self._request(session, batch, row)
                if failure is not None:
                    _fail(row, code_of(failure), str(failure))
            batch.failed += row.state is ItemState.FAILED
            batch.entered += 1
            service.close_if_finished(session, batch)
        if row.state is ItemState.ENTERED:
            self._submit(row)
        return True

    def _take_in(self, batch: Batch, item: BatchItem) -> uuid.UUID:
        """Once an item, however long its run is refused then. Raises what `intake.take_in` raises."""
        state = self._state
        state.quotas.check_room(state.database, batch.created_by, Kind.RUNS, 1)  # no bytes that could only wait
        analysis_id = intake.take_in(state, batch, item)
        with (
            state.database.write_soon() as session
        ):  # forgotten by a power cut, it is taken in again, as the same one
            row = repository.item(session, batch.id, item.position)
            assert row is not None
            row.analysis_id = analysis_id
        return analysis_id

    def _request(self, session: Session, batch: Batch, row: BatchItem) -> AppError | None:
        """Have the item's run accepted and queued. What is wrong with the item, if anything; raises NOT_NOW."""
        assert row.analysis_id is not None
        try:
            with session.begin_nested():  # what is wrong with the item costs its user no run
                row.run_id = runs.enter(
                    session,
                    self._state.quotas,
                    self._state.queue,
                    _owner(batch),
                    row.analysis_id,
                    model_version=batch.model_version,
                    priority=Priority.BATCH,
                )
        except OF_THE_ITEM as error:
            return error
        row.state, row.attempts = ItemState.ENTERED, row.attempts + 1
        return None

    def _submit(self, row: BatchItem) -> None:
        assert row.analysis_id is not None and row.run_id is not None
        with contextlib.suppress(ShuttingDownError):  # it stays queued, as the record says
            self._state.queue.submit(row.analysis_id, row.run_id, Priority.BATCH)

    def _settle(self, batch: Batch) -> None:
        """Note which runs ended, but for what is to be begun again."""
        with self._state.database.read() as session:
            rows = repository.ended(session, batch.id, limit=SETTLED_AT_ONCE)
        if all(_begins_again(batch, row) for row in rows):
            return
        with self._state.database.write() as session:
            batch = service.require(session, batch.id, locked=True)
            for row in repository.ended(session, batch.id, limit=SETTLED_AT_ONCE):
                if _begins_again(batch, row):
                    continue
                if row.outcome is RunOutcome.DONE:
                    row.item.state, batch.done = ItemState.DONE, batch.done + 1
                else:
                    _fail(row.item, row.failure_code, row.failure_message)
                    batch.failed += 1
            service.close_if_finished(session, batch)

    def _begin_again(self, batch_id: uuid.UUID) -> None:
        """Before anything new, so that these never pile up; a transaction each, since one may be refused by a quota."""
        with self._state.database.read() as session:
            batch = service.require(session, batch_id)
            rows = repository.ended(session, batch_id, limit=SETTLED_AT_ONCE)
        for row in rows:
            if not _begins_again(batch, row):
                continue
            if not self._has_room():
                return
            if row.failure_code != RunInterruptedError.code:
                self._state.store.check_readable()  # an outage that lasts takes no attempt
            with self._state.database.write() as session:
                batch = service.require(session, batch_id, locked=True)
                item = repository.item(session, batch_id, row.item.position)
                if item is None or item.run_id != row.item.run_id or batch.status is not BatchStatus.RUNNING:
                    return  # cancelled, or begun by another service meanwhile
                failure = self._request(session, batch, item)
                if failure is not None:
                    _fail(item, code_of(failure), str(failure))
                    batch.failed += 1
                    service.close_if_finished(session, batch)
            if failure is None:
                self._submit(item)


def _begins_again(batch: Batch, row: repository.Ended) -> bool:
    may = batch.status is BatchStatus.RUNNING and row.item.attempts < MAX_ATTEMPTS
    return may and row.failure_code in AGAIN_CODES


def _fail(item: BatchItem, code: str | None, message: str | None) -> None:
    item.state, item.failure_code, item.failure_message = ItemState.FAILED, code, message


def _unforeseen() -> EarwitnessError:
    return EarwitnessError(runs.UNFORESEEN)


def _owner(batch: Batch) -> User:
    """Its runs are requested in the name of who made the batch; what that user may do was asked then."""
    return User(batch.created_by, Role.ANALYST)
