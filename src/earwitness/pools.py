"""What everybody who uses pebble's pools must know of them.

A worker that is killed while it holds its pool's lock leaves it held for ever: no task is taken any more, no time limit
kept, and nothing tells of it (docs/adr/0020). So whoever waits for a task must watch it, and whoever stops a pool must
not count on its end.
"""

import threading

from pebble import ProcessPool

STOPPING_S = 30.0
"""After its time limit a task has ended: pebble looks ten times a second, and kills 3 s after asking. The rest is for a
busy machine."""
LOOK_EVERY_S = 1.0


def dispose(pool: ProcessPool, within_s: float = STOPPING_S) -> bool:
    """Stop `pool` and kill its workers; False where that is not over in time: then it goes on by itself."""
    thread = threading.Thread(target=_stop, args=(pool,), name="dispose", daemon=True)
    thread.start()
    thread.join(within_s)
    return not thread.is_alive()


def _stop(pool: ProcessPool) -> None:
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()
