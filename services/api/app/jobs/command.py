"""`earwitness worker`, `python -m app worker`: carry out runs until a signal stops it.

Settings are those of the service, and have to name the same database and evidence. Once it takes runs, one line
`{"event": "working", ...}` goes to standard output. SIGHUP: use the models that lie on the shelf now. Exit status 2
where it can't start; standard error says why.
"""

import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue

import structlog

from app.application import START_ERRORS, reason
from app.database import DATABASE_AWAY
from app.detectors.registry import ModelRegistry
from app.detectors.service import BY_SIGNAL, Reloader
from app.detectors.source import DetectorSource
from app.errors import ModelRefusedError
from app.metrics import Metrics
from app.settings import Settings
from app.startup import start_worker

EXIT_CANT_START = 2
STOPS = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger(__name__)


def work(settings: Settings, source: DetectorSource) -> int:
    """Until SIGTERM or SIGINT; the exit status. What does not end within the grace goes back into the queue."""
    signals: SimpleQueue[int] = SimpleQueue()  # may be put into from within a signal handler
    for number in (*STOPS, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: signals.put(number))
    with ExitStack() as stack:
        # A reload waits for a worker that is free, which must keep no SIGTERM waiting.
        reloads = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="reload"))
        try:
            models = ModelRegistry(source)
            started = start_worker(stack, settings, models=models, metrics=Metrics())
        except START_ERRORS as error:
            sys.stderr.write(f"earwitness: {reason(error)}\n")
            return EXIT_CANT_START
        told: dict[str, object] = {"event": "working", "pid": os.getpid()}
        told["model_version"] = models.active.description.model_version
        if started.url is not None:
            told["url"] = started.url
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        while signals.get() not in STOPS:
            reloads.submit(_reload, started.reloader)
    return 0


def _reload(reloader: Reloader) -> None:
    try:
        reloader.reload(BY_SIGNAL)
    except ModelRefusedError:
        pass  # logged, and the worker goes on
    except DATABASE_AWAY as error:
        log.warning("reload_not_recorded", error=str(error), advice="send SIGHUP again, so that others follow")
