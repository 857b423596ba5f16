"""A pool of worker processes that can be killed and that may crash; pebble does the work.

    pool = WorkerPool(model.order, workers=2, memory_bytes=4 << 30, readable=(evidence_folder, model_folder))
    output = pool.call(worker.examine, model.order, path, metadata, cpu_s, timeout_s=900)

Whatever goes wrong in a worker comes out of `call` as one of the errors that it names, and in a bounded time. Pebble
tells of a worker that dies at a task. One that dies in the instant of taking a task or of sending its result takes the
pool's lock with it: then no task is taken any more and no time limit kept, and nothing tells of it. So `call` watches
for that, and has a new pool made (docs/adr/0020).
"""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import structlog
from pebble import ProcessExpired, ProcessFuture, ProcessPool

from app.detectors.source import LoadOrder
from app.errors import DetectorBugError, RunInterruptedError
from app.runs import confinement, worker
from app.runs.board import Board
from app.runs.replies import ReplyingContext
from earwitness.errors import EarwitnessError, ModelError, RunTimeoutError, WorkerCrashError
from earwitness.pools import STOPPING_S, TAKEN_WITHIN_S, PoolBrokenError, TaskOutlivedError, awaited, dispose

T = TypeVar("T")
LOADING_LIMIT_S = TAKEN_WITHIN_S  # what the pool waits for a new worker
ATTEMPTS = 2
"""A task whose pool broke was not the one that broke it, or had not begun: it is done once more. So is one at which its
worker died: pebble charges with a worker's death also what that worker had just done, before its result was read."""
PRELOADED = ["app.runs.worker"]  # imported once by the fork server: a new worker starts in milliseconds

INTERRUPTED = "the service stopped before this run ended: run it again"

log = structlog.get_logger(__name__)


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
        """Starts nothing; the processes start with the first call and load `model`, where one is given.

        Of files they can read those in `readable` and what Python needs (`app.runs.confinement`).
        """
        self._workers = workers
        self._taken_within_s = taken_within_s
        self._stopping_s = stopping_s
        _tell_what_is_missing()
        context = ReplyingContext()
        context.set_forkserver_preload(PRELOADED)  # of all contexts: there is one fork server
        self.board = Board(context, workers)
        self._initial = (model, memory_bytes, readable, self.board.cells)
        self._lock = threading.Lock()
        self._closed = False
        self._pool = self._new_pool()
        self._waiting: set[ProcessFuture[Any]] = set()
        self._disposals: list[threading.Thread] = []

    def call(
        self, task: Callable[..., T], *args: Any, timeout_s: float, meanwhile: Callable[[], None] | None = None
    ) -> T:
        """Run `task` in a worker and wait for it; after `timeout_s` of running its process is killed.

        `meanwhile` is called about every LOOK_EVERY_S while the task is under way.

        Raises what the task raises if it is an EarwitnessError, RunTimeoutError, WorkerCrashError,
        RunInterruptedError where the pool was closed meanwhile, and DetectorBugError for anything else.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._call(task, args, timeout_s, meanwhile)
            except PoolBrokenError as error:
                log.warning("worker_pool_broken", attempt=attempt, error=str(error))
            except WorkerCrashError:
                if attempt == ATTEMPTS:
                    raise
        raise WorkerCrashError("the worker processes died around this task; the service goes on")

    def close(self) -> None:
        """Kill the workers; whoever waits in `call` gets RunInterruptedError."""
        with self._lock:
            self._closed = True
            for future in self._waiting:
                future.cancel()  # type: ignore[no-untyped-call]
            _dispose(self._pool)
        for disposal in self._disposals:
            disposal.join(STOPPING_S)

    def _call(
        self, task: Callable[..., T], args: tuple[Any, ...], timeout_s: float, meanwhile: Callable[[], None] | None
    ) -> T:
        future, pool = self._schedule(task, args, timeout_s)
        try:
            error = self._awaited(future, pool, timeout_s, meanwhile)
        except CancelledError:
            raise RunInterruptedError(INTERRUPTED) from None
        finally:
            with self._lock:
                self._waiting.discard(future)
        if error is None:
            return future.result()
        if isinstance(error, BrokenProcessPool) and not self._closed:
            raise PoolBrokenError(str(error)) from error
        raise self._translated(error, timeout_s) from error

    def _awaited(
        self,
        future: "ProcessFuture[Any]",
        pool: ProcessPool,
        timeout_s: float,
        meanwhile: Callable[[], None] | None,
    ) -> BaseException | None:
        """How the task ended; None: with a result. Raises PoolBrokenError, and CancelledError of a closed pool."""

        def look(running: bool) -> None:
            if pool is not self._pool and not future.done():
                raise PoolBrokenError("its pool was given up")
            if running and meanwhile is not None:
                meanwhile()

        try:
            return awaited(
                future,
                timeout_s=timeout_s,
                all_busy=self._all_busy,
                look=look,
                stopping_s=self._stopping_s,
                taken_within_s=self._taken_within_s,
            )
        except TaskOutlivedError as error:
            self._replace(pool, str(error))
            return TimeoutError()
        except PoolBrokenError as error:
            self._replace(pool, str(error))
            raise

    def _all_busy(self) -> bool:
        with self._lock:
            return sum(future.running() for future in self._waiting) >= self._workers

    def _replace(self, pool: ProcessPool, reason: str) -> None:
        """Give up `pool`, unless somebody did, with all that it is at: who waits for that notices, and tries again."""
        with self._lock:
            if pool is not self._pool or self._closed:
                return
            log.error("worker_pool_replaced", reason=reason)
            self._pool = self._new_pool()
            disposal = threading.Thread(target=_dispose, args=(pool,), name="dispose", daemon=True)
            disposal.start()  # it may take seconds to kill what does not want to end
            self._disposals = [thread for thread in self._disposals if thread.is_alive()] + [disposal]

    def _new_pool(self) -> ProcessPool:
        return ProcessPool(
            max_workers=self._workers,
            initializer=worker.start,
            initargs=self._initial,
            context=ReplyingContext(),
        )

    def _schedule(
        self, task: Callable[..., T], args: tuple[Any, ...], timeout_s: float
    ) -> "tuple[ProcessFuture[T], ProcessPool]":
        with self._lock:
            if self._closed:
                raise RunInterruptedError(INTERRUPTED)
            if not self._pool.active:  # a worker that dies between two tasks breaks the pool: take a new one
                _dispose(self._pool)
                self._pool = self._new_pool()
            future: ProcessFuture[T] = self._pool.schedule(task, args=args, timeout=timeout_s)
            self._waiting.add(future)
            return future, self._pool

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
        if isinstance(error, ProcessExpired) and error.exitcode == worker.EXIT_OUT_OF_MEMORY:
            return WorkerCrashError("the worker ran out of memory; the service goes on")
        if isinstance(error, ProcessExpired):
            log.warning("worker_died", error=repr(error))
            return WorkerCrashError("the worker process died; the service goes on")
        log.error("detector_bug", exc_info=error)
        return DetectorBugError("the detector failed in a way that it should not; the log says how")


def _dispose(pool: ProcessPool) -> None:
    if not dispose(pool):
        log.error("worker_pool_stays", advice="its processes end with the service at the latest")


@cache  # once a process, which may have several pools
def _tell_what_is_missing() -> None:
    if missing := confinement.missing():
        log.warning("workers_not_wholly_confined", missing=missing)
