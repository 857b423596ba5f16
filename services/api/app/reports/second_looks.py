"""The full report's second look at the sound, in a worker process of its own; the newest ones are remembered.

    looks = SecondLooks(pool, store, detector, timeout)
    outline, look = looks.of(run, filename)

A look is the same however often it is made: evidence and model are fixed, nothing in it is random. So it is kept for
a while in memory only, and made anew where it was forgotten.
"""

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

from app.analysis.models import AnalysisRecord
from app.detectors.registry import ModelRegistry
from app.detectors.source import LoadOrder
from app.errors import AppError, RunInterruptedError, code_of
from app.evidence.store import EvidenceStore
from app.runs import worker
from app.runs.models import DetectorRun
from app.runs.recording import output_of
from app.runs.workers import WorkerPool
from earwitness.detector import DetectorOutput
from earwitness.errors import EarwitnessError
from earwitness.reporting.contents import SecondLook
from earwitness.reporting.outline import Outline

REMEMBERED = 16
"""About a megabyte each, most of it the spectrogram."""
NOTHING_FOUND = SecondLook(panel_absent="No panel: the run found nothing that could be scored again.")

ERASED = SecondLook(panel_absent="No panel and no figures: the evidence was erased since.")

Look: TypeAlias = tuple[Outline | None, SecondLook]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which run's sound is looked at: everything that is needed of its row."""

    run_id: UUID
    sha256: str
    filename: str
    output: DetectorOutput | None
    panel: tuple[LoadOrder, float] | None
    """The run's model and prior; None where that model is no longer there: only its own scores can be compared."""
    erased: bool = False
    """There is no evidence any more, and what was seen of it earlier is not shown again."""


def wanted_of(run: DetectorRun, record: AnalysisRecord, *, prior: float, models: ModelRegistry) -> Wanted:
    recorded = run.method or {}
    model = models.of_run(run.model_version, run.model_sha256, recorded.get("spec_sha256"))
    panel = (model.order, prior) if model else None
    erased = record.erased_at is not None
    return Wanted(run.id, record.sha256, record.filename, output_of(run), panel, erased)


class SecondLooks:
    """Safe to call from several threads; each waits for its own look."""

    def __init__(self, pool: WorkerPool, store: EvidenceStore, timeout: timedelta) -> None:
        self._pool = pool
        self._store = store
        self._timeout_s = timeout.total_seconds()
        self._lock = threading.Lock()
        self._remembered: OrderedDict[UUID, Look] = OrderedDict()

    def of(self, wanted: Wanted) -> Look:
        """What can't be made is absent with its reason: a report is due on altered evidence and failed runs too.

        Raises RunInterruptedError where the service stops meanwhile.
        """
        if wanted.output is None:
            return None, NOTHING_FOUND
        if wanted.erased:
            return None, ERASED
        with self._lock:
            if (known := self._remembered.get(wanted.run_id)) is not None:
                self._remembered.move_to_end(wanted.run_id)
                return known
        try:
            look = self._made(wanted, wanted.output)
        except RunInterruptedError:
            raise
        except (EarwitnessError, AppError) as error:  # not remembered: it may be another time
            reason = f"No panel and no figures: the evidence could not be read again ({code_of(error)})."
            return None, SecondLook(panel_absent=reason)
        with self._lock:
            self._remembered[wanted.run_id] = look
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        return look

    def _made(self, wanted: Wanted, output: DetectorOutput) -> Look:
        cpu_s = self._timeout_s * (os.cpu_count() or 1) + 1
        with self._store.local_copy(wanted.sha256) as path:
            return self._pool.call(
                worker.look_again,
                path,
                wanted.filename,
                output,
                wanted.panel,
                cpu_s,
                timeout_s=self._timeout_s,
            )
