"""From rows to the library's report. No text is written here."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from app.analysis.models import AnalysisRecord, Status
from app.audit.models import AuditEvent
from app.errors import AnalysisNotDoneError
from app.runs.method import method_of, policy_of
from app.runs.models import DetectorRun
from app.runs.recording import output_of
from earwitness.actions import ActionPolicy
from earwitness.report import (
    CustodyEvent,
    CustodyMetadata,
    EvidenceMetadata,
    Failure,
    build_report,
)

ENDED = (Status.DONE, Status.FAILED)


def require_ended(record: AnalysisRecord) -> None:
    """Raises AnalysisNotDoneError while there is nothing to report."""
    if record.status not in ENDED:
        raise AnalysisNotDoneError(f"the analysis is {record.status.lower()}: run it, and wait for the run's end")


def report(
    record: AnalysisRecord,
    run: DetectorRun,
    events: Iterable[AuditEvent],
    *,
    policy: ActionPolicy,
    generated_at: datetime,
) -> dict[str, Any]:
    """The report on the newest run of `record`, by `earwitness.report`.

    It says what the run was made with. `policy` recommends only where the run did not record what was recommended.
    """
    return build_report(
        analysis_id=str(record.id),
        status=record.status.value,
        output=output_of(run),
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
        method=method_of(run),
        policy=policy_of(run, otherwise=policy),
        generated_at=generated_at,
        failure=Failure(run.failure_code, run.failure_message or "") if run.failure_code else None,
    )


def _sha256_at_analysis(record: AnalysisRecord, run: DetectorRun) -> str | None:
    """None where the run ended before the stored bytes had been read."""
    read = run.evidence_verified or run.evidence_sha256 != record.sha256
    return run.evidence_sha256 if read else None
