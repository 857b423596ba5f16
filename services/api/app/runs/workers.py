"""A pool of worker processes that can be killed and that may crash; pebble does the work.

    pool = WorkerPool(model.order, workers=2, memory_bytes=4 << 30, readable=(evidence_folder, model_folder))
    output = pool.call(worker.examine, model.order, path, metadata, cpu_s, timeout_s=900)

Whatever goes wrong in a worker comes out of `call` as one of the errors that it names.
"""

import multiprocessing
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
from earwitness.errors import EarwitnessError, ModelError, RunTimeoutError, WorkerCrashError

T = TypeVar("T")
LOADING_LIMIT_S = 120.0  # a large model on a slow, busy disk
PRELOADED = ["app.runs.worker"]  # imported once by the fork server: a new worker starts in milliseconds

INTERRUPTED = "the service stopped before this run ended: run it again"

log = structlog.get_logger(__name__)


class WorkerPool:
    def __init__(
        self, model: LoadOrder | None, *, workers: int, memory_bytes: int, readable: tuple[Path, ...]
    ) -> None:
        """Starts nothing; the processes start with the first call and load `model`, where one is given.

        Of files they can read those in `readable` and what Python needs (`app.runs.confinement`).
        """
        self._workers = workers
        _tell_what_is_missing()
        self._initial = (model, memory_bytes, readable)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        self._lock = threading.Lock()
        self._closed = False
        self._pool = self._new_pool()
        self._waiting: set[ProcessFuture[Any]] = set()

    def call(self, task: Callable[..., T], *args: Any, timeout_s: float) -> T:
        """Run `task` in a worker and wait for it; after `timeout_s` of running its process is killed.

        Raises what the task raises if it is an EarwitnessError, RunTimeoutError, WorkerCrashError,
        RunInterruptedError where the pool was closed meanwhile, and DetectorBugError for anything else.
        """
        future = self._schedule(task, args, timeout_s)
        try:
            error = future.exception()
        except CancelledError:
            raise RunInterruptedError(INTERRUPTED) from None
        finally:
            with self._lock:
                self._waiting.discard(future)
        if error is None:
            return future.result()
        raise self._translated(error, timeout_s) from error

    def close(self) -> None:
        """Kill the workers; whoever waits in `call` gets RunInterruptedError."""
        with self._lock:
            self._closed = True
            for future in self._waiting:
                future.cancel()  # type: ignore[no-untyped-call]
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()

    def _new_pool(self) -> ProcessPool:
        return ProcessPool(
            max_workers=self._workers,
            initializer=worker.start,
            initargs=self._initial,
            context=self._context,
        )

    def _schedule(self, task: Callable[..., T], args: tuple[Any, ...], timeout_s: float) -> "ProcessFuture[T]":
        with self._lock:
            if self._closed:
                raise RunInterruptedError(INTERRUPTED)
            if not self._pool.active:  # a worker that dies between two tasks breaks the pool: take a new one
                self._pool.stop()  # type: ignore[no-untyped-call]
                self._pool.join()
                self._pool = self._new_pool()
            future: ProcessFuture[T] = self._pool.schedule(task, args=args, timeout=timeout_s)
            self._waiting.add(future)
            return future

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
        if isinstance(error, ProcessExpired | BrokenProcessPool):
            log.warning("worker_died", error=repr(error))
            return WorkerCrashError("the worker process died; the service goes on")
        log.error("detector_bug", exc_info=error)
        return DetectorBugError("the detector failed in a way that it should not; the log says how")


@cache  # once a process, which may have several pools
def _tell_what_is_missing() -> None:
    if missing := confinement.missing():
        log.warning("workers_not_wholly_confined", missing=missing)
