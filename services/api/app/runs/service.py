"""A run from its request to its outcome.

    request -> QUEUED -> RUNNING -> DONE or FAILED, and a row in detector_runs

`enter`, `request_run` and `recover` work inside the caller's transaction; `Runner.perform` is the job and owns its own:
one to begin, one to end, none open while the detector works.
"""

import os
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog
from sqlalchemy.orm import Session

from app import tracing
from app.analysis import repository as records
from app.analysis import service as analyses
from app.analysis.models import AnalysisRecord, Status
from app.audit import repository as audit
from app.audit.agreement import end_of
from app.audit.models import EventType
from app.database import DATABASE_AWAY, Database
from app.detectors.registry import Model, ModelRegistry
from app.errors import OUTAGES, AppError, DetectorBugError, RunInterruptedError, RunUnderWayError
from app.evidence.store import EvidenceStore
from app.identity.user import User
from app.metrics import Metrics
from app.orm import utc_now
from app.quotas.models import Kind
from app.quotas.service import Quotas
from app.runs import repository, worker
from app.runs.board import Place
from app.runs.method import Installation
from app.runs.models import DetectorRun, RunOutcome
from app.runs.progress import ProgressNotes
from app.runs.queue import Claim, JobQueue, Priority
from app.runs.recording import ended_run, newest_columns
from app.runs.workers import WorkerPool
from earwitness.actions import ActionPolicy
from earwitness.detector import DetectorOutput
from earwitness.errors import EarwitnessError, InputError, WorkerCrashError

RECORDING_ATTEMPTS = 6
RECORDING_PAUSE_S = 0.5  # doubled each time: a database that restarts is back within half a minute
RECORDING_LONG_PAUSE_S = (
    5.0  # from then on: a full disk waits for somebody who makes room, and may be told of each time
)

UNFORESEEN = "the service failed in a way that it should not; its log says how"

T = TypeVar("T")

log = structlog.get_logger(__name__)


def request_run(
    session: Session, user: User, analysis_id: uuid.UUID, model_version: str | None = None
) -> uuid.UUID:
    """Accept a run, with the model of that version or with the one that is active when it begins; its id.

    Raises AnalysisNotFoundError, EvidenceErasedError or RunUnderWayError.
    """
    run_id = uuid.uuid4()
    trace = tracing.carrier().get("traceparent")
    if not records.claim_for_run(session, analysis_id, run_id, user.name, model_version, trace=trace):
        record = analyses.require_evidence(session, analysis_id)
        raise RunUnderWayError(f"a run of this analysis is {record.status.lower()}: wait for its end")
    audit.append(
        session,
        EventType.RUN_REQUESTED,
        actor=user.name,
        analysis_id=analysis_id,
        details={"run_id": str(run_id)} | ({"model_version": model_version} if model_version else {}),
    )
    return run_id


def enter(
    session: Session,
    quotas: Quotas,
    queue: JobQueue,
    user: User,
    analysis_id: uuid.UUID,
    *,
    model_version: str | None = None,
    priority: Priority,
) -> uuid.UUID:
    """Charge, accept and queue a run; its id, for `queue.submit` once the transaction is committed.

    Whoever enters a run locks things in this order, or two of them could wait for each other: the batch, where it is of
    one; the user's quota; the analysis; the audit trail. From the last on all writers take turns, so one transaction
    enters one run. Raises what `Quotas.charge`, `request_run` and `JobQueue.enqueue` raise.
    """
    quotas.charge(session, user.name, Kind.RUNS, 1)
    run_id = request_run(session, user, analysis_id, model_version)
    queue.enqueue(session, analysis_id, run_id, priority)
    return run_id


def recover(session: Session) -> list[tuple[uuid.UUID, uuid.UUID]]:
    """After a start: end the runs that died with the last process; give those that only waited, to queue again.

    A run that was RUNNING is not begun again by itself: if its recording took the process down, it would again.
    """
    waiting: list[tuple[uuid.UUID, uuid.UUID]] = []
    for record in records.under_way(session):
        assert record.run_id is not None
        if record.status is Status.QUEUED:
            waiting.append((record.id, record.run_id))
        else:
            error = RunInterruptedError("the service stopped while this run was under way: run it again")
            run = ended_run(
                record,
                error,
                started_at=record.run_started_at or record.updated_at,
                evidence_verified=False,
                installation=None,
            )
            _record_end(session, run, None)
    return waiting


class Runner:
    def __init__(
        self,
        *,
        database: Database,
        store: EvidenceStore,
        workers: WorkerPool,
        models: ModelRegistry,
        policy: ActionPolicy,
        metrics: Metrics,
        run_timeout: timedelta,
        max_attempts: int = 1,
    ) -> None:
        """`max_attempts`: how often workers may die at one run before it is given up, where a queue hands it on."""
        self._database = database
        self._store = store
        self._workers = workers
        self._models = models
        self._policy = policy
        self._metrics = metrics
        self._timeout_s = run_timeout.total_seconds()
        self._max_attempts = max_attempts
        self._stopping = threading.Event()

    def stop_waiting(self) -> None:
        """The process stops: what the database still does not take is left to the next start."""
        self._stopping.set()

    def perform(
        self, analysis_id: uuid.UUID, run_id: uuid.UUID, claim: Claim | None = None
    ) -> AnalysisRecord | None:
        """Carry out one accepted run and record how it ended, whatever way that is.

        The record as it stood then; None where the run is no longer the one that waits, or was handed back.
        With a `claim` a run that another worker began and did not end is begun again.
        """
        record = self._begin(analysis_id, run_id, claim)
        if record is None:
            return None
        parent = {"traceparent": record.run_trace} if record.run_trace else None
        with (
            tracing.span("run", parent=parent, analysis_id=str(analysis_id), run_id=str(run_id)),
            self._workers.board.place() as place,
        ):
            return self._carry_out(record, run_id, claim, place)

    def _carry_out(
        self, record: AnalysisRecord, run_id: uuid.UUID, claim: Claim | None, place: Place
    ) -> AnalysisRecord | None:
        started_at = utc_now()
        verified = False
        installation = None
        result: DetectorOutput | EarwitnessError | AppError = DetectorBugError(UNFORESEEN)
        try:
            if claim is not None and claim.attempt > self._max_attempts:
                raise WorkerCrashError(f"{self._max_attempts} workers died at this run, so it was given up")
            model = self._models.chosen(record.run_model_version)  # from here on this one, whatever is reloaded
            installation = Installation(model.description, self._policy)
            with ExitStack() as copy:
                with tracing.span("verify"), self._metrics.watching_evidence():
                    path = copy.enter_context(self._store.local_copy(record.sha256))
                verified = True
                with tracing.span("examine", model_version=model.description.model_version):
                    result = self._examine(record, path, model, place)
                    tracing.note({f"earwitness.timings_ms.{step}": ms for step, ms in result.timings_ms.items()})
        except InputError as error:
            result = self._outage() or error
        except (EarwitnessError, AppError) as error:
            result = error
        finally:  # whatever happened, a bug of ours included: no record stays RUNNING
            run = ended_run(
                record, result, started_at=started_at, evidence_verified=verified, installation=installation
            )
            ended = None
            with tracing.span("record"):
                back = _way_back(claim, result)
                if back is not None:
                    if self._hand_back(run, back, claim):
                        log.warning("run_handed_back", run_id=str(run_id), error=str(result))
                else:
                    ended = self._end(run, claim, place.examined_s())
        if ended is None:
            log.info("run_not_ended_here", analysis_id=str(record.id), run_id=str(run_id))
            return None
        self._metrics.runs.labels(run.verdict if run.outcome is RunOutcome.DONE else run.failure_code).inc()
        self._metrics.run_seconds.observe(run.processing_ms / 1000)
        log.info(
            "run_ended",
            analysis_id=str(record.id),
            run_id=str(run_id),
            outcome=run.outcome,
            failure_code=run.failure_code,
            processing_ms=run.processing_ms,
        )
        return ended

    def _outage(self) -> AppError | None:
        """The store may have gone after the hash was checked: no recording is blamed for what was not there."""
        try:
            self._store.check_readable()
        except OUTAGES as error:
            return error
        except (AppError, OSError):
            return None
        return None

    def _examine(self, record: AnalysisRecord, path: Path, model: Model, place: Place) -> DetectorOutput:
        # The wall clock ends a run; this bound on processor time ends what could outlive it.
        cpu_s = self._timeout_s * (os.cpu_count() or 1) + 1
        metadata = {"filename": record.filename}
        return self._workers.call(
            worker.examine,
            model.order,
            path,
            metadata,
            cpu_s,
            place.number,
            timeout_s=self._timeout_s,
            meanwhile=ProgressNotes(self._database, record, place).note,
        )

    def _begin(self, analysis_id: uuid.UUID, run_id: uuid.UUID, claim: Claim | None) -> AnalysisRecord | None:
        """The record, now RUNNING; None where this run is no longer the one that waits."""
        if claim is not None:  # then it may be RUNNING by a worker that died, or by a commit whose answer was lost
            take = partial(records.mark_running, analysis_id=analysis_id, run_id=run_id, even_if_running=True)
            return self._patiently(take, self._database.write_soon, claim)
        failed_before = False

        def begin(session: Session) -> AnalysisRecord | None:
            nonlocal failed_before
            begun = records.mark_running(session, analysis_id, run_id)
            if begun is None and failed_before:  # a connection lost in the commit may hide that it succeeded
                record = analyses.require(session, analysis_id)
                begun = record if record.run_id == run_id and record.status is Status.RUNNING else None
            failed_before = True
            return begun

        return self._patiently(begin, self._database.write_soon, claim)

    def _end(self, run: DetectorRun, claim: Claim | None, examined_s: float | None) -> AnalysisRecord | None:
        """Record it; None where another worker, which took this one for dead, has the run now or has ended it."""

        def end(session: Session) -> AnalysisRecord | None:
            ended = _record_end(session, run, examined_s)
            if ended is not None:
                if claim is not None:
                    claim.announce(session)
                return ended
            if claim is not None:
                return None
            if repository.get(session, run.id) is None:  # else by a commit whose answer was lost
                raise RuntimeError(f"the run {run.id} is not under way, and yet it never ended")
            return analyses.require(session, run.analysis_id)

        return self._patiently(end, self._database.write, claim)

    def _hand_back(self, run: DetectorRun, back: Callable[[Session], None], claim: Claim | None) -> bool:
        """Have the run begun anew, by another worker or later, and record no end of it; False where another has it."""

        def hand_back(session: Session) -> bool:
            if records.mark_waiting(session, run.analysis_id, run.id) is None:
                return False
            back(session)
            return True

        return self._patiently(hand_back, self._database.write, claim)

    def _patiently(
        self,
        step: Callable[[Session], T],
        transaction: Callable[[], AbstractContextManager[Session]],
        claim: Claim | None,
    ) -> T:
        """`step` in a transaction of its own, again if the database is away for a moment: no run is lost to that.

        A run with a claim is given up after RECORDING_ATTEMPTS, and its queue has it begun anew. Nobody else would take
        care of one without, so it is tried until the process stops. Only this thread waits, and no other run could be
        recorded meanwhile either.
        """
        attempt = 1
        while True:
            try:
                with transaction() as session:
                    return step(session)
            except DATABASE_AWAY as error:
                if attempt >= RECORDING_ATTEMPTS and (claim is not None or self._stopping.is_set()):
                    raise  # the queue logs it; the next start finds the run QUEUED or RUNNING and takes care of it
                log.warning("database_away", attempt=attempt, error=str(error))
                if attempt < RECORDING_ATTEMPTS:
                    time.sleep(RECORDING_PAUSE_S * 2**attempt)
                else:
                    self._stopping.wait(RECORDING_LONG_PAUSE_S)
                attempt += 1


def _way_back(
    claim: Claim | None, result: DetectorOutput | EarwitnessError | AppError
) -> Callable[[Session], None] | None:
    """How the run goes back into the queue that gave it; None where it has ended."""
    if claim is not None and isinstance(result, RunInterruptedError):
        return claim.hand_back
    if claim is not None and isinstance(result, OUTAGES):
        return claim.put_off
    return None


def _record_end(session: Session, run: DetectorRun, examined_s: float | None) -> AnalysisRecord | None:
    """The record, the run's own row and the audit event; None where the run is not under way, and nothing is written.

    So a run ends once, whoever else believes that it is theirs to end.
    """
    record = records.show_end(session, run.analysis_id, run.id, newest_columns(run, examined_s))
    if record is None:
        return None
    repository.add(session, run)
    (row,) = repository.stored(session, [run.id])
    event, details = end_of(row)
    audit.append(session, event, actor=run.requested_by, analysis_id=run.analysis_id, details=details)
    return record
