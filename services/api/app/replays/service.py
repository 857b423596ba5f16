"""Repeating a run: the stored bytes, the graph and the spec of then; and what differs from what was recorded.

It is carried out where full reports take their second look, beside the workers of the runs, and while the client waits.
Nothing that the record shows is touched.
"""

import os
import uuid
from dataclasses import asdict
from typing import Any

import structlog
from sqlalchemy.orm import Session

from app.analysis import service as analyses
from app.analysis.models import AnalysisRecord
from app.audit import repository as audit
from app.audit.models import EventType
from app.audit.rows import require_record, require_run
from app.detectors.registry import Model
from app.errors import (
    AnalysisNotDoneError,
    AppError,
    DetectorBugError,
    ModelNotOnShelfError,
    RunNotFoundError,
    RunNotReplayableError,
    code_of,
)
from app.identity.user import User
from app.orm import utc_now
from app.quotas.models import Kind
from app.replays import repository
from app.replays.models import RunReplay
from app.runs import repository as runs
from app.runs import worker
from app.runs.models import DetectorRun, RunOutcome
from app.runs.recording import output_of
from app.state import ServiceState
from earwitness.comparison import Difference, comparable, differences
from earwitness.detector import DetectorOutput
from earwitness.errors import EarwitnessError, InputError, RunTimeoutError, WorkerCrashError

KEPT_DIFFERENCES = (
    200  # a change of calibration alters every window of a long recording; the count tells of the rest
)
OUTCOMES = (InputError, RunTimeoutError, WorkerCrashError, DetectorBugError)
"""How a run can fail by its recording: that is compared. Anything else is no replay, and is raised."""

log = structlog.get_logger(__name__)


def replay(state: ServiceState, user: User, analysis_id: uuid.UUID, run_id: uuid.UUID | None) -> RunReplay:
    """Repeat a run, the newest one where none is named, and record how that ended.

    Raises AnalysisNotFoundError, EvidenceErasedError, AnalysisNotDoneError, RunNotFoundError, RunNotReplayableError,
    RecordAlteredError, ModelNotOnShelfError, EvidenceMissingError, EvidenceAlteredError, ModelError,
    RunInterruptedError.
    """
    with state.database.read() as session:
        record = analyses.require_evidence(session, analysis_id)
        require_record(session, record)
        run = _chosen(session, record, run_id)
        require_run(session, run)  # what is compared with is what was found then
    model = _model_of(state, run)
    with state.database.write() as session:
        state.quotas.charge(session, user.name, Kind.RUNS, 1)  # it costs what a run costs
    started_at = utc_now()
    result = _repeated(state, record, model)
    finished_at = utc_now()
    found = _differences(run, result)
    made = RunReplay(
        id=uuid.uuid4(),
        analysis_id=analysis_id,
        run_id=run.id,
        requested_by=user.name,
        started_at=started_at,
        finished_at=finished_at,
        processing_ms=round((finished_at - started_at).total_seconds() * 1000),
        evidence_sha256=record.sha256,
        model_version=model.description.model_version,
        model_sha256=model.description.model_sha256,
        tools=dict(model.description.method.tools or {}),
        outcome=RunOutcome.DONE if isinstance(result, DetectorOutput) else RunOutcome.FAILED,
        failure_code=None if isinstance(result, DetectorOutput) else code_of(result),
        failure_message=None if isinstance(result, DetectorOutput) else str(result),
        difference_count=len(found),
        differences=[asdict(difference) for difference in found[:KEPT_DIFFERENCES]],
    )
    with state.database.write() as session:
        repository.add(session, made)
        audit.append(
            session,
            EventType.RUN_REPLAYED,
            actor=user.name,
            analysis_id=analysis_id,
            details={
                "replay_id": str(made.id),
                "run_id": str(run.id),
                "model_version": made.model_version,
                "differences": made.difference_count,
            },
        )
    if found:
        log.warning("replay_differs", analysis_id=str(analysis_id), run_id=str(run.id), differences=len(found))
    return made


def _chosen(session: Session, record: AnalysisRecord, run_id: uuid.UUID | None) -> DetectorRun:
    if run_id is None:
        newest = runs.of_analysis(session, record.id, limit=1, offset=0)
        if not newest:
            raise AnalysisNotDoneError("no run of this analysis has ended yet: there is nothing to repeat")
        return newest[0]
    run = runs.get(session, run_id)
    if run is None or run.analysis_id != record.id:
        raise RunNotFoundError(f"this analysis has no run {run_id} that ended: GET .../runs lists them")
    return run


def _model_of(state: ServiceState, run: DetectorRun) -> Model:
    if run.method is None or run.model_version is None:
        raise RunNotReplayableError(
            "this run did not record what it was made with, since its process died or its version of the service did "
            "not yet: there is nothing to compare with"
        )
    model = state.models.of_run(run.model_version, run.model_sha256, run.method.get("spec_sha256"))
    if model is None:
        raise ModelNotOnShelfError(
            f"the model {run.model_version} with the graph and the spec of this run is not on the shelf: put its two "
            "files back beside the active model and reload the models"
        )
    return model


def _repeated(
    state: ServiceState, record: AnalysisRecord, model: Model
) -> DetectorOutput | EarwitnessError | AppError:
    timeout_s = state.settings.run_timeout.total_seconds()
    cpu_s = timeout_s * (os.cpu_count() or 1) + 1
    with state.metrics.watching_evidence(), state.store.local_copy(record.sha256) as path:
        try:
            metadata = {"filename": record.filename}
            return state.reporter.call(worker.examine, model.order, path, metadata, cpu_s, timeout_s=timeout_s)
        except OUTCOMES as error:
            return error


def _differences(run: DetectorRun, result: DetectorOutput | EarwitnessError | AppError) -> tuple[Difference, ...]:
    before, now = output_of(run), result if isinstance(result, DetectorOutput) else None
    if before is not None and now is not None:
        return differences(comparable(before), comparable(now))
    return differences(
        _ending(run.outcome, run.failure_code),
        _ending(RunOutcome.DONE, None) if now is not None else _ending(RunOutcome.FAILED, _code(result)),
    )


def _ending(outcome: RunOutcome, failure_code: str | None) -> dict[str, Any]:
    return {"outcome": outcome.value, "failure_code": failure_code}


def _code(result: DetectorOutput | EarwitnessError | AppError) -> str | None:
    return None if isinstance(result, DetectorOutput) else code_of(result)
