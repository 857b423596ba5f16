"""The contents of a forensic report, version 2, as JSON values: findings apart from interpretation.

    report = build_report(subject, output=output, method=method, policy=policy, generated_at=now)
    json.dumps(report)      # valid against report_schema()

Pure: no clock, no file, no database; the caller states every time and every hash. Text comes from `wording`, from
`earwitness.explain` and from the policy file. docs/report.md says which part answers which demand on such a report.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from earwitness.actions import ActionPolicy, recommend
from earwitness.detector import DetectorOutput
from earwitness.explain import REASONS
from earwitness.finding import Abstention, Verdict
from earwitness.grounds import Grounds, Severity
from earwitness.likelihood import ENFSI_2015, likelihood
from earwitness.panel import Panel
from earwitness.report import (
    ENDED,
    POLARITY,
    PROPOSITIONS,
    QUESTION,
    CustodyMetadata,
    EvidenceMetadata,
    Failure,
    MethodMetadata,
    custody_block,
    evidence_block,
    limitations,
    no_finding,
    result_block,
    utc,
)
from earwitness.report import report_schema as schema_of
from earwitness.reporting import wording
from earwitness.reporting.validation import Circumstances, validation_block

REPORT_VERSION = 2
UNITS = {"_s": "s", "_hz": "Hz", "_db": "dB", "_dbfs": "dBFS", "_share": "share"}
"""How the names of measured values end, and the unit that says."""
PREPROCESSING = (
    "The sound track is decoded by FFmpeg's libraries, its channels averaged, and resampled to 16 kHz (float32). "
    "It is cut into windows (their length and how often one begins stand under Method); of each window the constant "
    "part and everything outside 60 Hz to 7.6 kHz is removed, and the level set to -26 dBFS (canonical view). A neural "
    "network scores each window; the recording's score is the mean of its windows, weighted by their share of speech; "
    "calibration turns it into a log-likelihood ratio, and two thresholds on the probability give the verdict."
)


@dataclass(frozen=True, slots=True)
class Derived:
    """Something made from the evidence, with the hash by which a second examiner can compare his own."""

    name: str
    sha256: str
    made: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What the report is on."""

    analysis_id: str
    status: str
    """The record's: `UPLOADED`, `QUEUED`, `RUNNING`, `DONE` or `FAILED`."""
    evidence: EvidenceMetadata
    custody: CustodyMetadata
    run_id: str | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class SecondLook:
    """What the full report has beyond the run's own results; each part is None where it could not be made."""

    panel: Panel | None = None
    panel_absent: str | None = None
    """Why there is no panel."""
    derived: tuple[Derived, ...] = ()


NO_SECOND_LOOK = SecondLook(panel_absent="The robustness panel was not asked for; the full report always has it.")


def build_report(
    subject: Subject,
    *,
    output: DetectorOutput | None,
    method: MethodMetadata,
    policy: ActionPolicy,
    generated_at: datetime,
    second_look: SecondLook = NO_SECOND_LOOK,
) -> dict[str, Any]:
    """The report; `output` is None while nothing was found (not run yet, or failed).

    `method` and `policy` are those of the run. Times must be aware (ValueError otherwise) and are written in UTC.
    """
    verdict = None if output is None else output.verdict
    abstentions = () if output is None else output.abstentions
    return {
        "report_version": REPORT_VERSION,
        "title": wording.TITLE,
        "analysis_id": subject.analysis_id,
        "run_id": subject.run_id,
        "generated_at": utc(generated_at),
        "status": subject.status,
        "failure": None if subject.failure is None else asdict(subject.failure),
        "question": QUESTION,
        "propositions": dict(PROPOSITIONS),
        "evidence": {
            **evidence_block(subject.evidence, output),
            "derived": [asdict(made) for made in second_look.derived],
        },
        "chain_of_custody": custody_block(subject.custody),
        "method": _method(method, policy),
        "findings": _findings(subject, output),
        "result": result_block(output, method.prior),
        "key_findings": list(output.explanations) if output else [no_finding(subject.status, subject.failure)],
        "interpretation": _interpretation(output, method, abstentions),
        "robustness": _robustness(second_look),
        "validation": validation_block(method.validation, circumstances(output)),
        "timeline": [asdict(window) for window in output.windows] if output else [],
        "suitability": _suitability(verdict, abstentions),
        "limitations": limitations(
            output, method_missing=method.tools is None and subject.status in ENDED, prior=method.prior
        ),
        "undetermined": wording.undetermined(verdict, abstentions),
        "recommended_actions": [
            asdict(action) for action in recommend(policy, verdict or Verdict.SUSPICIOUS, abstentions)
        ],
        "glossary": [term._asdict() for term in wording.GLOSSARY],
        "alignment": wording.ALIGNMENT,
        "signature": {"examiner": None, "signed_at": None},
    }


def report_bytes(report: Mapping[str, Any]) -> bytes:
    """The report as a JSON file. A file name that is no Unicode is kept by JSON's own escapes."""
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode(errors="backslashreplace")


def report_schema() -> dict[str, Any]:
    """The published JSON Schema (draft 2020-12) of the report that `build_report` makes."""
    return schema_of(REPORT_VERSION)


def circumstances(output: DetectorOutput | None) -> Circumstances:
    """What of the recording decides which validation figures apply to it."""
    if output is None:
        return Circumstances()
    measured = output.signals
    return Circumstances(
        codec=output.media.codec if output.media else None,
        bandwidth_hz=measured.get("bandwidth_hz"),
        speech_s=measured.get("speech_s"),
        snr_db=measured.get("snr_db"),
    )


def _method(method: MethodMetadata, policy: ActionPolicy) -> dict[str, Any]:
    described = asdict(method)
    del described["validation"]  # stands for itself
    return {
        **described,
        "preprocessing": PREPROCESSING,
        "verbal_scale": {"id": ENFSI_2015.id, "citation": ENFSI_2015.citation, "note": ENFSI_2015.note},
        "action_policy_version": policy.version,
        "tools": dict(method.tools or {}),
    }


def _findings(subject: Subject, output: DetectorOutput | None) -> dict[str, Any]:
    """What was measured and computed, without a word on what it means."""
    grounds = output.grounds if output else None
    return {
        "score": output.score if output else None,
        "llr_as_recorded": output.llr if output else None,
        "windows": len(output.windows) if output else 0,
        "statements": [
            {**asdict(said), "severity": said.severity.value, "direction": said.direction.value}
            for said in (grounds.explanations if grounds else ())
            if said.severity is not Severity.VERDICT
        ],
        "signals": _signals(output),
        "usual_ranges_version": grounds.usual_ranges_version if grounds else None,
        "frames": _frames(grounds),
        "stretches": [asdict(stretch) for stretch in (grounds.stretches if grounds else ())],
        "by_chance": asdict(grounds.by_chance) if grounds and grounds.by_chance else None,
        "deletions": [asdict(deletion) for deletion in (grounds.deletions if grounds else ())],
        "warnings": list(output.warnings) if output else [],
        "failure": None if subject.failure is None else no_finding(subject.status, subject.failure),
    }


def _frames(grounds: Grounds | None) -> dict[str, Any] | None:
    if grounds is None or grounds.frames is None:
        return None
    return {"hop_s": grounds.frames.hop_s, "llr": list(grounds.frames.llr)}


def _signals(output: DetectorOutput | None) -> list[dict[str, Any]]:
    """Every measured value, each under one name; what has no description is given by its name alone."""
    if output is None:
        return []
    described = [asdict(signal) for signal in (output.grounds.signals if output.grounds else ())]
    named = {signal["name"] for signal in described}
    bare: Mapping[str, Any] = {
        "reference": None, "human": None, "synthetic": None, "bandwidth_class": None,
    }  # fmt: skip
    plain = [
        {"name": name, "title": _title(name), "value": value, "unit": _unit(name), **bare}
        for name, value in output.signals.items()
        if name not in named
    ]
    return [*described, *plain]


def _title(name: str) -> str:
    return name.removesuffix(_unit_suffix(name) or "").replace("_", " ").capitalize()


def _unit(name: str) -> str | None:
    suffix = _unit_suffix(name)
    return None if suffix is None else UNITS[suffix]


def _unit_suffix(name: str) -> str | None:
    return next((suffix for suffix in UNITS if name.endswith(suffix)), None)


def _interpretation(
    output: DetectorOutput | None, method: MethodMetadata, abstentions: tuple[Abstention, ...]
) -> dict[str, Any]:
    block, absent = None, None
    caps = method.calibration or {}
    if output is None:
        absent = wording.NO_RATIO_NOT_EXAMINED
    elif output.llr is None:
        absent = wording.NO_RATIO_ABSTAINED
    elif "llr_min" not in caps or "llr_max" not in caps:
        absent = wording.NO_RATIO_NO_CAPS
    else:
        found = likelihood(output.llr, float(caps["llr_min"]), float(caps["llr_max"]))
        block = {
            **asdict(found),
            "favours": found.favours.value,
            "posteriors": [asdict(p) for p in found.posteriors],
        }
    return {
        "meaning": wording.meaning(output.verdict if output else None, abstentions, method.prior),
        "likelihood": block,
        "likelihood_absent": absent,
        "polarity": POLARITY,
    }


def _robustness(second_look: SecondLook) -> dict[str, Any]:
    if second_look.panel is None:
        return {"panel": None, "absent": second_look.panel_absent or NO_SECOND_LOOK.panel_absent, "summary": None}
    panel = second_look.panel
    plain = {
        **asdict(panel),
        "unaltered": {**asdict(panel.unaltered), "verdict": panel.unaltered.verdict.value},
        "trials": [{**asdict(trial), "verdict": trial.verdict.value} for trial in panel.trials],
    }
    turned = "did not change in any of them" if not panel.flips else f"changed in {panel.flips} of them"
    summary = (
        f"{panel.windows} windows ({panel.sound_s:.1f} s of sound, overlaps counted twice) were scored again under "
        f"{len(panel.trials)} conditions. The llr ranged from {panel.llr_low:+z.2f} to {panel.llr_high:+z.2f}; the "
        f"verdict on these windows {turned}."
    )
    return {"panel": plain, "absent": None, "summary": summary}


def _suitability(verdict: Verdict | None, abstentions: tuple[Abstention, ...]) -> dict[str, Any]:
    return {
        "judged": verdict is not None and not abstentions,
        "reasons": [{"code": reason.value, "text": REASONS[reason]} for reason in abstentions],
    }
