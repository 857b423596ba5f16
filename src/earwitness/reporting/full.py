"""The full report on a file, outside any service: what `earwitness analyze FILE --report out.pdf` makes.

    report, outline = report_on_file(path, output, scorer, begun_at=begun, policy=load_action_policy())
    write_report(out, render(report, outline, form_of(out)))

The caller has examined the recording already; here it is hashed again, looked at once more, and reported.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from earwitness.actions import ActionPolicy
from earwitness.calibration import DEFAULT_PRIOR
from earwitness.detector import DetectorOutput
from earwitness.model_spec import file_sha256
from earwitness.report import CustodyEvent, CustodyMetadata, EvidenceMetadata, as_used, method_from_spec
from earwitness.reporting.contents import Subject, build_report
from earwitness.reporting.outline import Outline
from earwitness.reporting.second_look import look_again
from earwitness.scorer import Scorer


@dataclass(frozen=True, slots=True)
class CaseFields:
    case_id: str | None = None
    exhibit_id: str | None = None
    examiner: str | None = None
    """Who examined it, as the person at the command line says."""


NO_CASE = CaseFields()


def report_on_file(
    path: Path,
    output: DetectorOutput,
    scorer: Scorer,
    *,
    begun_at: datetime,
    sha256_at_receipt: str,
    policy: ActionPolicy,
    prior: float = DEFAULT_PRIOR,
    case: CaseFields = NO_CASE,
) -> tuple[dict[str, Any], Outline | None]:
    """The report's JSON, and the outline that its figures are drawn from.

    `sha256_at_receipt` was taken at `begun_at`, before the examination. Raises what `look_again` raises.
    """
    examined_at = datetime.now(UTC)
    outline, second_look = look_again(path, output, scorer, prior)
    sha256_now = file_sha256(path)
    events = (
        CustodyEvent(begun_at, "file_hashed", case.examiner, {"sha256": sha256_at_receipt}),
        CustodyEvent(examined_at, "examined", case.examiner, {"model_version": output.model_version}),
        CustodyEvent(datetime.now(UTC), "file_hashed_again", case.examiner, {"sha256": sha256_now}),
    )
    subject = Subject(
        analysis_id=f"local-{sha256_at_receipt[:16]}",
        status="DONE",
        evidence=EvidenceMetadata(
            filename=path.name,
            media_type=output.media.media_type if output.media else "audio",
            size_bytes=path.stat().st_size,
            sha256_at_receipt=sha256_at_receipt,
            sha256_at_analysis=sha256_now,
        ),
        custody=CustodyMetadata(
            created_at=begun_at,
            case_id=case.case_id,
            exhibit_id=case.exhibit_id,
            created_by=case.examiner,
            analysed_at=examined_at,
            events=events,
        ),
    )
    report = build_report(
        subject,
        output=output,
        method=replace(as_used(method_from_spec(scorer.spec), output.windows), prior=prior),
        policy=policy,
        generated_at=datetime.now(UTC),
        second_look=second_look,
    )
    return report, outline
