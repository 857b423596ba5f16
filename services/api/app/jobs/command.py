"""`earwitness worker`, `python -m app worker`: carry out runs until a signal stops it.

Settings are those of the service, and have to name the same database and evidence. Once it takes runs, one line
`{"event": "working", ...}` goes to standard output. Exit status 2 where it can't start; standard error says why.
"""

import json
import os
import signal
import sys
import threading
from contextlib import ExitStack

from app.application import START_ERRORS, reason
from app.detectors.registry import ModelRegistry
from app.detectors.source import DetectorSource
from app.metrics import Metrics
from app.settings import Settings
from app.startup import start_worker

EXIT_CANT_START = 2


def work(settings: Settings, source: DetectorSource) -> int:
    """Until SIGTERM or SIGINT; the exit status. What does not end within the grace goes back into the queue."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    with ExitStack() as stack:
        try:
            models = ModelRegistry(source)
            start_worker(stack, settings, models=models, metrics=Metrics())
        except START_ERRORS as error:
            sys.stderr.write(f"earwitness: {reason(error)}\n")
            return EXIT_CANT_START
        model_version = models.active.description.model_version
        sys.stdout.write(
            json.dumps({"event": "working", "pid": os.getpid(), "model_version": model_version}) + "\n"
        )
        sys.stdout.flush()
        stop.wait()
    return 0
