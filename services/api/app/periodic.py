"""Something that is done again and again beside the requests.

sweeps = Periodic("retention", timedelta(hours=1), sweep)
stack.callback(sweeps.close)
"""

import threading
from collections.abc import Callable
from datetime import timedelta

import structlog

from app.threads import wait_for_end

log = structlog.get_logger(__name__)


class Periodic:
    """A thread that does `deed` at once and then every `interval`; a failed one is logged, and the next one comes.

    A long deed asks the function that it is given now and then: once that is true, it ends early.
    """

    def __init__(self, name: str, interval: timedelta, deed: Callable[[Callable[[], bool]], object]) -> None:
        self._name = name
        self._interval_s = interval.total_seconds()
        self._deed = deed
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Waits for the deed that is under way."""
        self._stopped.set()
        wait_for_end(self._thread)

    def _work(self) -> None:
        while True:
            try:
                self._deed(self._stopped.is_set)
            except Exception:  # whatever it was, the next time may be better; nobody else would hear of it
                log.exception("periodic_work_failed", work=self._name)
            if self._stopped.wait(self._interval_s):
                return
