"""From rows to the library's report. No text is written here."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.analysis import service as analyses
from app.analysis.models import AnalysisRecord, Status
from app.audit import repository as audit
from app.audit.models import AuditEvent, EventType
from app.audit.rows import require_record, require_run
from app.errors import AnalysisNotDoneError
from app.identity.user import User
from app.orm import utc_now
from app.reports.second_looks import Look, Wanted, wanted_of
from app.runs import repository as runs
from app.runs.method import method_of, policy_of
from app.runs.models import DetectorRun
from app.runs.recording import output_of
from app.state import ServiceState
from earwitness import report as version_1
from earwitness.actions import ActionPolicy
from earwitness.report import CustodyEvent, CustodyMetadata, EvidenceMetadata, Failure
from earwitness.reporting import contents as version_2
from earwitness.reporting.contents import NO_SECOND_LOOK, SecondLook, Subject
from earwitness.reporting.forms import Form, render

ENDED = (Status.DONE, Status.FAILED)
VERSIONS = (version_1.REPORT_VERSION, version_2.REPORT_VERSION)


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for."""

    form: Form
    version: int
    full: bool
    """With everything that needs the sound a second time; pages always are."""


def wanted(state: ServiceState, analysis_id: uuid.UUID) -> Wanted:
    """What the second look at the newest run needs.

    Raises AnalysisNotFoundError, AnalysisNotDoneError and RecordAlteredError.
    """
    with state.database.read() as session:
        record, run = _newest(session, analysis_id)
        return wanted_of(run, record, prior=method_of(run).prior, models=state.models)


def issue(state: ServiceState, user: User, analysis_id: uuid.UUID, order: Order, look: Look | None) -> bytes:
    """The report on the newest run in the form that was ordered.

    Issuing a report is an access to the case: the audit trail notes it, before the report lists the trail. Raises
    what `wanted` raises, and ReportError where it can't be set.
    """
    outline, second_look = look or (None, NO_SECOND_LOOK)
    with state.database.read() as session:
        record, run = _newest(session, analysis_id)
        seen = audit.newest_sequence(session)
    details = {
        "run_id": str(run.id),
        "report_version": order.version,
        "form": order.form.value,
        "full": order.full,
    }
    with state.database.write() as session:
        audit.append(session, EventType.REPORT_ISSUED, actor=user.name, analysis_id=analysis_id, details=details)
        *before, this = audit.of_analysis(session, analysis_id)
        # What happened since the record was read is not in this report, and so not in the trail that it lists either.
        events = [*(event for event in before if event.sequence <= seen), this]
        made = report(
            record,
            run,
            events,
            policy=state.action_policy,
            generated_at=utc_now(),
            version=order.version,
            second_look=second_look,
        )
    return render(made, outline, order.form)


def _newest(session: Session, analysis_id: uuid.UUID) -> tuple[AnalysisRecord, DetectorRun]:
    """The record and its newest run, as the trail tells them; `session` reads one consistent state."""
    record = analyses.require(session, analysis_id)
    if record.status not in ENDED:
        raise AnalysisNotDoneError(f"the analysis is {record.status.lower()}: run it, and wait for the run's end")
    run = runs.get(session, record.run_id) if record.run_id else None
    if run is not None:
        require_run(session, run)
    require_record(session, record)  # no report contradicts the trail that it lists
    assert run is not None, "the record names the run that ended last, and that one is there"
    return record, run


def report(
    record: AnalysisRecord,
    run: DetectorRun,
    events: Iterable[AuditEvent],
    *,
    policy: ActionPolicy,
    generated_at: datetime,
    version: int = version_2.REPORT_VERSION,
    second_look: SecondLook = NO_SECOND_LOOK,
) -> dict[str, Any]:
    """It says what the run was made with; `policy` is for runs that did not record what was recommended."""
    subject = _subject(record, run, events)
    policy = policy_of(run, otherwise=policy)
    if version == version_1.REPORT_VERSION:
        return version_1.build_report(
            analysis_id=subject.analysis_id,
            status=subject.status,
            output=output_of(run),
            evidence=subject.evidence,
            custody=subject.custody,
            method=method_of(run),
            policy=policy,
            generated_at=generated_at,
            failure=subject.failure,
        )
    return version_2.build_report(
        subject,
        output=output_of(run),
        method=method_of(run),
        policy=policy,
        generated_at=generated_at,
        second_look=second_look,
    )


def _subject(record: AnalysisRecord, run: DetectorRun, events: Iterable[AuditEvent]) -> Subject:
    return Subject(
        analysis_id=str(record.id),
        run_id=str(run.id),
        status=record.status.value,
        failure=Failure(run.failure_code, run.failure_message or "") if run.failure_code else None,
        evidence=EvidenceMetadata(
            filename=record.filename,
            media_type=record.media_type.value,
            size_bytes=record.size_bytes,
            sha256_at_receipt=record.sha256,
            sha256_at_analysis=_sha256_at_analysis(record, run),
        ),
        custody=CustodyMetadata(
            created_at=record.created_at,
            device_id=record.device_id,
            case_id=record.case_id,
            exhibit_id=record.exhibit_id,
            source=record.source,
            notes=record.notes,
            created_by=record.created_by,
            analysed_at=run.finished_at,
            events=tuple(
                CustodyEvent(event.timestamp, event.event_type.value, event.actor, event.details)
                for event in events
            ),
        ),
    )


def _sha256_at_analysis(record: AnalysisRecord, run: DetectorRun) -> str | None:
    """None where the run ended before the stored bytes had been read."""
    read = run.evidence_verified or run.evidence_sha256 != record.sha256
    return run.evidence_sha256 if read else None
