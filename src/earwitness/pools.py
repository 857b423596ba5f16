"""What everybody who uses pebble's pools must know of them.

A worker that is killed while it holds its pool's lock leaves it held for ever: no task is taken any more, no time limit
kept, and nothing tells of it (docs/adr/0020). So whoever waits for a task must watch it, and whoever stops a pool must
not count on its end.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from pebble import ProcessFuture, ProcessPool

STOPPING_S = 30.0
"""After its time limit a task has ended: pebble looks ten times a second, and kills 3 s after asking. The rest is for a
busy machine."""
TAKEN_WITHIN_S = 120.0
"""A worker that is free takes a task at once, and a new one as soon as it has loaded its model; that may take as long
for a large one on a slow, busy disk."""
LOOK_EVERY_S = 1.0


class PoolBrokenError(Exception):
    """The pool, not the task, is why there will be no result."""


class TaskOutlivedError(PoolBrokenError):
    """Past its time limit a task is still under way: its pool can't keep the limit."""


def awaited(
    future: "ProcessFuture[Any]",
    *,
    timeout_s: float,
    all_busy: Callable[[], bool],
    look: Callable[[bool], None],
    stopping_s: float = STOPPING_S,
    taken_within_s: float = TAKEN_WITHIN_S,
) -> BaseException | None:
    """How a task of the time limit `timeout_s` ended; None: with a result. Waits for it, but not for ever.

    About every LOOK_EVERY_S `look` is told whether it is under way. `all_busy` says whether every worker is at
    something: then a task may wait.

    Raises TaskOutlivedError, and PoolBrokenError where nobody took the task although a worker was free, and what `look`
    raises.
    """
    begun_s: float | None = None
    untaken_since_s = time.monotonic()
    while True:
        try:
            return future.exception(timeout=LOOK_EVERY_S)
        except TimeoutError:  # of this look; that of the task would have been returned
            now_s = time.monotonic()
        running = future.running()
        look(running)
        if running:
            begun_s = begun_s or now_s
            if now_s - begun_s > timeout_s + stopping_s:
                raise TaskOutlivedError("a task outlived its time limit")
        elif all_busy():
            untaken_since_s = now_s
        elif now_s - untaken_since_s > taken_within_s:
            raise PoolBrokenError("no worker took a task")


def dispose(pool: ProcessPool, within_s: float = STOPPING_S) -> bool:
    """Stop `pool` and kill its workers; False where that is not over in time: then it goes on by itself."""
    thread = threading.Thread(target=_stop, args=(pool,), name="dispose", daemon=True)
    thread.start()
    thread.join(within_s)
    return not thread.is_alive()


def _stop(pool: ProcessPool) -> None:
    # Pebble takes the names of a pool's locks away before it kills the workers one by one: one that is starting just
    # then would miss them, and say so at length. While somebody has the locks, their names stay.
    channel = pool._pool_manager.worker_manager.workers_channel  # None where no worker has started yet
    locks = channel and (channel.mutex.reader_mutex, channel.mutex.writer_mutex)
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()
    del locks
