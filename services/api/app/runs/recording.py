"""Between a detector's output and the rows that hold it, in both directions. No session here."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from app.analysis.models import AnalysisRecord, Status
from app.errors import AppError, EvidenceAlteredError, code_of
from app.orm import utc_now
from app.runs.method import Installation, recorded
from app.runs.models import DetectorRun, RunOutcome
from earwitness.detector import DetectorOutput
from earwitness.errors import EarwitnessError
from earwitness.finding import Abstention, MediaInfo, Stretch, Verdict, WindowScore
from earwitness.output_json import grounds_as_dict, grounds_from_dict
from earwitness.policy import unjudged


def finding_columns(output: DetectorOutput) -> dict[str, Any]:
    """What the record and the run both keep of an output."""
    return {
        "verdict": output.verdict,
        "confidence": output.confidence,
        "p_fake": output.p_fake,
        "llr": output.llr,
        "explanations": list(output.explanations),
        "signals": dict(output.signals),
        "abstentions": [reason.value for reason in output.abstentions],
        "model_version": output.model_version,
    }


NOTHING_FOUND: dict[str, Any] = {
    "verdict": Verdict.SUSPICIOUS,
    "confidence": 0.0,
    "p_fake": None,
    "llr": None,
    "explanations": [],
    "signals": {},
    "abstentions": [],
}
"""What a record says before its first run and after a failed one."""

TAKEN_FROM_RUN = (*NOTHING_FOUND, "model_version", "failure_code", "failure_message", "processing_ms")
"""Columns that a record has of its newest run."""


def ended_run(
    record: AnalysisRecord,
    result: DetectorOutput | EarwitnessError | AppError,
    *,
    started_at: datetime,
    evidence_verified: bool,
    installation: Installation | None,
) -> DetectorRun:
    """The row of the run that `record` has under way, given how it ended.

    `installation` is None where there was no such model, and for a run of a process that died: nobody knows what that
    one worked with.
    """
    finished_at = utc_now()
    assert record.run_id is not None and record.run_requested_by is not None
    run = DetectorRun(
        id=record.run_id,
        analysis_id=record.id,
        requested_by=record.run_requested_by,
        started_at=started_at,
        finished_at=finished_at,
        processing_ms=round((finished_at - started_at).total_seconds() * 1000),
        evidence_sha256=result.actual_sha256 if isinstance(result, EvidenceAlteredError) else record.sha256,
        evidence_verified=evidence_verified,
    )
    if installation is not None:
        run.model_version = installation.detector.model_version
        run.model_sha256 = installation.detector.model_sha256
    if isinstance(result, DetectorOutput):
        _fill(run, result)
    else:
        run.outcome = RunOutcome.FAILED
        run.failure_code = code_of(result)
        run.failure_message = str(result)
        _set(run, NOTHING_FOUND)
    if installation is not None:
        windows = result.windows if isinstance(result, DetectorOutput) else ()
        abstentions = [Abstention(reason) for reason in run.abstentions]
        run.method = recorded(installation, run.verdict, abstentions, windows)
    return run


def _fill(run: DetectorRun, output: DetectorOutput) -> None:
    run.outcome = RunOutcome.DONE
    _set(run, finding_columns(output))
    run.score = output.score
    run.warnings = list(output.warnings)
    run.windows = [asdict(window) for window in output.windows]
    run.most_suspicious = asdict(output.most_suspicious) if output.most_suspicious else None
    run.media = asdict(output.media) if output.media else None
    run.duration_s = output.duration_s
    run.grounds = None if output.grounds is None else grounds_as_dict(output.grounds)
    run.timings_ms = dict(output.timings_ms)


def newest_columns(run: DetectorRun, examined_s: float | None) -> dict[str, Any]:
    """What the record says of `run`, its newest one, which came as far as `examined_s`, or as it says already.

    A run that is DONE came to the end.
    """
    columns = {
        "status": Status.DONE if run.outcome is RunOutcome.DONE else Status.FAILED,
        "updated_at": run.finished_at,
        **{name: getattr(run, name) for name in TAKEN_FROM_RUN},
    }
    if run.duration_s is not None:
        columns["duration_s"] = columns["examined_s"] = run.duration_s
    elif examined_s is not None:
        columns["examined_s"] = examined_s
    return columns


def output_of(run: DetectorRun) -> DetectorOutput | None:
    """The detector's output as it was when the run ended; None for a failed run."""
    if run.outcome is not RunOutcome.DONE:
        return None
    windows = (WindowScore(**window) for window in run.windows)
    return DetectorOutput(
        verdict=run.verdict,
        confidence=run.confidence,
        explanations=tuple(run.explanations),
        signals=run.signals,
        model_version=run.model_version or "unknown",
        p_fake=run.p_fake,
        llr=run.llr,
        score=run.score,
        windows=tuple(map(unjudged, windows) if run.abstentions else windows),  # rows before 2026-12 have both
        most_suspicious=Stretch(**run.most_suspicious) if run.most_suspicious else None,
        abstentions=tuple(Abstention(reason) for reason in run.abstentions),
        media=MediaInfo(**run.media) if run.media else None,
        duration_s=run.duration_s,
        warnings=tuple(run.warnings),
        timings_ms=run.timings_ms,
        grounds=None if run.grounds is None else grounds_from_dict(run.grounds),
    )


def _set(row: AnalysisRecord | DetectorRun, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(row, name, value)
