"""Worker processes that can be killed and that may crash; pebble does the work.

    pool = WorkerPool(model.order, workers=2, memory_bytes=4 << 30, readable=(evidence_folder, model_folder))
    output = pool.call(worker.examine, model.order, path, metadata, cpu_s, timeout_s=900)

Every worker is a pool of pebble's by itself: what it says comes by a pipe that no other worker can write to, and what
happens to it happens to its own task alone (docs/adr/0062).

Whatever goes wrong in a worker comes out of `call` as one of the errors that it names, and in a bounded time. Pebble
tells of a worker that dies at a task. One that dies in the instant of taking a task or of sending its result takes its
pool's lock with it: then no task is taken any more and no time limit kept, and nothing tells of it. So `call` watches
for that, and has a new one made (docs/adr/0020).
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import structlog
from pebble import ProcessExpired, ProcessFuture, ProcessPool

from app.detectors.source import LoadOrder
from app.errors import DetectorBugError, EvidenceUnavailableError, RunInterruptedError
from app.runs import confinement, worker
from app.runs.board import Board
from app.runs.replies import ReplyingContext
from earwitness.errors import EarwitnessError, ModelError, RunTimeoutError, WorkerCrashError
from earwitness.pools import STOPPING_S, TAKEN_WITHIN_S, PoolBrokenError, TaskOutlivedError, awaited, dispose

T = TypeVar("T")
LOADING_LIMIT_S = TAKEN_WITHIN_S  # what is waited for a new worker
ATTEMPTS = 2
"""A task whose pool broke had not begun, as a rule: it is done once more. So is one at which its worker died: pebble
charges with a worker's death also what that worker had just done, before its result was read."""
ENDS_OF_WORKERS = (BrokenProcessPool, ProcessExpired, TimeoutError)
PRELOADED = ["app.runs.worker"]  # imported once by the fork server: a new worker starts in milliseconds

INTERRUPTED = "the service stopped before this run ended: run it again"

log = structlog.get_logger(__name__)


class _Seat:
    """Of one worker: whoever has the seat has it do one task."""

    def __init__(self, pool: ProcessPool) -> None:
        self.pool = pool
        """Another one after each that broke."""
        self.future: ProcessFuture[Any] | None = None
        """What it is at."""


class WorkerPool:
    def __init__(
        self,
        model: LoadOrder | None,
        *,
        workers: int,
        memory_bytes: int,
        readable: tuple[Path, ...],
        taken_within_s: float = TAKEN_WITHIN_S,
        stopping_s: float = STOPPING_S,
    ) -> None:
        """Starts nothing; all processes start with the first call and load `model`, where one is given.

        Of files they can read those in `readable` and what Python needs (`app.runs.confinement`).
        """
        self._taken_within_s = taken_within_s
        self._stopping_s = stopping_s
        _tell_what_is_missing()
        context = ReplyingContext()
        context.set_forkserver_preload(PRELOADED)  # of all contexts: there is one fork server
        self.board = Board(context, workers)
        self._initial = (model, memory_bytes, readable, self.board.cells)
        self._changed = threading.Condition()
        self._closed = self._started = False
        self._seats = [_Seat(self._new_pool()) for _ in range(workers)]
        self._free = deque(self._seats)
        self._queue: deque[object] = deque()  # whoever waits for a seat, in the order of coming
        self._disposals: list[threading.Thread] = []

    def call(
        self, task: Callable[..., T], *args: Any, timeout_s: float, meanwhile: Callable[[], None] | None = None
    ) -> T:
        """Run `task` in a worker and wait for it; after `timeout_s` of running its process is killed.

        While all workers are at something it waits, first come, first served. `meanwhile` is called about every
        LOOK_EVERY_S while the task is under way.

        Raises what the task raises if it is an EarwitnessError, RunTimeoutError, WorkerCrashError,
        EvidenceUnavailableError where not even a new worker may open the file, RunInterruptedError where the pool was
        closed meanwhile, and DetectorBugError for anything else.
        """
        for _ in self._seats:  # each of the workers may have shut itself in before the volume was mounted again
            try:
                return self._tried(task, args, timeout_s, meanwhile)
            except EvidenceUnavailableError as error:
                log.warning("worker_shut_out", error=str(error))
        return self._tried(task, args, timeout_s, meanwhile)

    def _tried(
        self, task: Callable[..., T], args: tuple[Any, ...], timeout_s: float, meanwhile: Callable[[], None] | None
    ) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._call(task, args, timeout_s, meanwhile)
            except PoolBrokenError as error:
                log.warning("worker_lost", attempt=attempt, error=str(error))
            except WorkerCrashError:
                if attempt == ATTEMPTS:
                    raise
        raise WorkerCrashError("the worker processes died around this task; the service goes on")

    def close(self) -> None:
        """Kill the workers; whoever waits in `call` gets RunInterruptedError."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            for seat in self._seats:
                if seat.future is not None:
                    seat.future.cancel()  # type: ignore[no-untyped-call]
            for seat in self._seats:
                self._dispose(seat.pool)
        for disposal in self._disposals:
            disposal.join(STOPPING_S)

    def _call(
        self, task: Callable[..., T], args: tuple[Any, ...], timeout_s: float, meanwhile: Callable[[], None] | None
    ) -> T:
        with self._seat() as seat:
            try:
                future = self._schedule(seat, task, args, timeout_s)
                error = self._awaited(seat, future, timeout_s, meanwhile)
            except CancelledError:
                raise RunInterruptedError(INTERRUPTED) from None
            except BaseException as unexpected:
                # Its worker may be at the task still, and nobody else must wait for that.
                self._replace(seat, repr(unexpected))
                raise
            if isinstance(error, ENDS_OF_WORKERS):
                # Pebble starts another worker, but on the same pipe, in which the old one may have left answers.
                self._replace(seat, repr(error))
        if error is None:
            return future.result()
        if isinstance(error, BrokenProcessPool) and not self._closed:
            raise PoolBrokenError(str(error)) from error
        raise self._translated(error, timeout_s) from error

    @contextmanager
    def _seat(self) -> Iterator[_Seat]:
        """A seat of one's own, as soon as there is one. Raises RunInterruptedError where the pool is closed first."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                while not self._closed and not (self._free and self._queue[0] is ticket):
                    self._changed.wait()
                if self._closed:
                    raise RunInterruptedError(INTERRUPTED)
                seat = self._free.popleft()  # the longest unused: one whose worker just died may be starting
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
        try:
            yield seat
        finally:
            with self._changed:
                seat.future = None
                self._free.append(seat)
                self._changed.notify_all()

    def _schedule(
        self, seat: _Seat, task: Callable[..., T], args: tuple[Any, ...], timeout_s: float
    ) -> "ProcessFuture[T]":
        with self._changed:
            if self._closed:
                raise RunInterruptedError(INTERRUPTED)
            if not self._started:
                self._started = True
                for one in self._seats:
                    _start(one.pool)
            try:
                if not seat.pool.active:  # a worker that dies between two tasks breaks its pool: take a new one
                    self._renew(seat)
                future: ProcessFuture[T] = seat.pool.schedule(task, args=args, timeout=timeout_s)
            except (OSError, RuntimeError) as error:  # no descriptors or processes are left, or it broke just now
                raise PoolBrokenError(f"its worker can't be started: {error!r}") from error
            seat.future = future
            return future

    def _awaited(
        self,
        seat: _Seat,
        future: "ProcessFuture[Any]",
        timeout_s: float,
        meanwhile: Callable[[], None] | None,
    ) -> BaseException | None:
        """How the task ended; None: with a result. Raises PoolBrokenError, and CancelledError of a closed pool."""

        def look(running: bool) -> None:
            if not seat.pool.active and not future.done():  # it came as its pool broke, and was forgotten
                raise PoolBrokenError("its worker's pool broke")
            if running and meanwhile is not None:
                meanwhile()

        try:
            return awaited(
                future,
                timeout_s=timeout_s,
                all_busy=_never,  # its worker has nothing else to do
                look=look,
                stopping_s=self._stopping_s,
                taken_within_s=self._taken_within_s,
            )
        except TaskOutlivedError:
            return TimeoutError()

    def _replace(self, seat: _Seat, reason: str) -> None:
        """Give up the worker of `seat`, and start another."""
        with self._changed:
            if not self._closed:
                log.warning("worker_replaced", reason=reason)
                self._renew(seat)
                _start(seat.pool)

    def _renew(self, seat: _Seat) -> None:
        self._dispose(seat.pool)
        seat.pool = self._new_pool()

    def _new_pool(self) -> ProcessPool:
        return ProcessPool(
            max_workers=1, initializer=worker.start, initargs=self._initial, context=ReplyingContext()
        )

    def _dispose(self, pool: ProcessPool) -> None:
        """In a thread: it may take seconds to kill what does not want to end."""
        disposal = threading.Thread(target=_dispose, args=(pool,), name="dispose", daemon=True)
        disposal.start()
        self._disposals = [thread for thread in self._disposals if thread.is_alive()] + [disposal]

    def _translated(self, error: BaseException, timeout_s: float) -> Exception:
        if isinstance(error, ModelError):
            log.error("model_unusable", exc_info=error)
        if isinstance(error, EarwitnessError):
            return error
        if isinstance(error, TimeoutError):
            return RunTimeoutError(
                f"the run was stopped after {timeout_s:g} s: cut the recording or send the parts"
            )
        if self._closed:
            return RunInterruptedError(INTERRUPTED)
        if isinstance(error, ProcessExpired):
            return _of_its_own_end(error)
        log.error("detector_bug", exc_info=error)
        return DetectorBugError("the detector failed in a way that it should not; the log says how")


def _of_its_own_end(error: ProcessExpired) -> Exception:
    if error.exitcode == worker.EXIT_OUT_OF_MEMORY:
        return WorkerCrashError("the worker ran out of memory; the service goes on")
    if error.exitcode == worker.EXIT_SHUT_OUT:
        return EvidenceUnavailableError("the worker processes may not open the evidence")
    log.warning("worker_died", error=repr(error))
    return WorkerCrashError("the worker process died; the service goes on")


def _never() -> bool:
    return False


def _start(pool: ProcessPool) -> None:
    """To ask a pool whether it is active starts it; where that fails the next task finds out."""
    try:
        _ = pool.active
    except (OSError, RuntimeError) as error:
        log.warning("worker_not_started", error=repr(error))


def _dispose(pool: ProcessPool) -> None:
    if not dispose(pool):
        log.error("worker_stays", advice="its process ends with the service at the latest")


@cache  # once a process, which may have several pools
def _tell_what_is_missing() -> None:
    if missing := confinement.missing():
        log.warning("workers_not_wholly_confined", missing=missing)
