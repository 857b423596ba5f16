"""How far a run is, noted in its record while it is under way.

    notes = ProgressNotes(database, record, place)
    workers.call(..., meanwhile=notes.note)      # about once a second

What is shorter than NOTE_EVERY_S writes nothing. A note changes nothing but the progress of this very run, and only
while it is RUNNING by this very worker (docs/adr/0022).
"""

import time

import structlog

from app.analysis import repository as records
from app.analysis.models import AnalysisRecord
from app.database import DATABASE_AWAY, Database
from app.runs.board import Place

NOTE_EVERY_S = 2.0
"""A person who polls wants no more, and a thousand runs of a few seconds want no write more than they have."""

log = structlog.get_logger(__name__)


class ProgressNotes:
    def __init__(self, database: Database, record: AnalysisRecord, place: Place) -> None:
        """`record` as the run's beginning left it."""
        self._database = database
        self._record = record
        self._place = place
        self._noted_s: float | None = None
        self._next_s = time.monotonic() + NOTE_EVERY_S
        self._ours = True

    def note(self) -> None:
        """Write it down if it is time to, and there is anything new. Raises nothing that a database does."""
        if not self._ours or time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + NOTE_EVERY_S
        examined_s = self._place.examined_s()
        if examined_s is None or examined_s == self._noted_s:
            return
        try:
            with self._database.write_soon() as session:
                self._ours = records.note_progress(session, self._record, examined_s)
        except DATABASE_AWAY as error:  # a note is worth no patience: the next one says more
            log.info("progress_not_noted", error=str(error))
            return
        self._noted_s = examined_s
        if not self._ours:
            log.warning("run_taken_over", analysis_id=str(self._record.id), run_id=str(self._record.run_id))
