"""The end of the service's own threads."""

import threading

import structlog

END_LIMIT_S = 60.0
"""What a thread may do when it is told to end: wait for a connection (30 s), twice where it gives one back."""

log = structlog.get_logger(__name__)


def wait_for_end(thread: threading.Thread, limit_s: float = END_LIMIT_S) -> None:
    """Wait for a daemon thread that was told to end; one that does not is logged and left to the end of the process.

    A service that stops must stop: without a bound, one thread that hangs keeps it until it is killed, and with it
    what is closed after this thread.
    """
    thread.join(limit_s)
    if thread.is_alive():
        log.error("thread_does_not_end", thread=thread.name, waited_s=limit_s)
