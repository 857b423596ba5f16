"""Checking a report against the recording on hand: the same file, the same model, the same finding?

    report = read_report(Path("report.json"))
    checked = verify(report, Path("voicemail.m4a"), detector)
    checked.confirmed

What a second examiner does who has the report, the recording and the model. Nothing is rounded: on a machine like the
first one every number comes out the same; where the tools differ, their versions tell.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from earwitness.actions import load_action_policy
from earwitness.calibration import posterior
from earwitness.comparison import Difference, differences
from earwitness.detector import DetectorInput, DetectorOutput
from earwitness.errors import InputError, MediaNotFoundError, ModelMismatchError
from earwitness.model_spec import file_sha256
from earwitness.onnx_detector import OnnxAudioDetector
from earwitness.report import CustodyMetadata, EvidenceMetadata, as_used, method_from_spec
from earwitness.reporting.contents import NO_SECOND_LOOK, REPORT_VERSION, Subject, build_report
from earwitness.reporting.html import EMBEDDED, EMBEDDED_END
from earwitness.reporting.second_look import look_again

STANDING = (
    "question", "propositions", "limitations", "undetermined", "glossary", "alignment", "method.preprocessing",
    "method.verbal_scale", "findings.statements", "key_findings", "interpretation.meaning", "interpretation.polarity",
    "result.polarity",
)  # fmt: skip
"""Where sentences stand that another version of this program may word otherwise."""
BLOCKS = (
    "question", "propositions", "result", "findings", "key_findings", "interpretation", "validation", "timeline",
    "suitability", "limitations", "undetermined", "glossary", "alignment",
)  # fmt: skip
"""What rests on the recording, the model and this program alone."""
EVIDENCE = (
    "media_type", "size_bytes", "container", "codec", "sample_rate_hz", "channels", "declared_duration_s", "duration_s",
    "sha256_at_receipt", "sha256_at_analysis", "integrity", "derived",
)  # fmt: skip
METHOD = (
    "model_version", "calibration", "thresholds", "thresholds_chosen", "limits", "window_s", "hop_s",
    "canonical_version", "preprocessing", "verbal_scale",
)  # fmt: skip
NOT_COMPARED = "the case, the chain of custody, the file's name, the times and the recommended actions"
"""What no second examination can tell: it stands in the report alone."""
MAX_REPORT_BYTES = 256 << 20  # a day's recording has fewer windows than this holds


@dataclass(frozen=True, slots=True)
class Verification:
    same_file: bool
    found_sha256: str
    stated_sha256: str
    model_version: str
    differences: tuple[Difference, ...] = ()
    """Of the finding and of the model's numbers; () as well where another file was not examined."""
    tools: tuple[Difference, ...] = ()
    """Versions that differ: they explain, and are no difference of the finding."""
    wording: tuple[Difference, ...] = ()
    """Of a report by another version of this program: sentences that it has otherwise, no difference of the finding."""
    not_compared: str = NOT_COMPARED

    @property
    def confirmed(self) -> bool:
        return self.same_file and not self.differences


def read_report(path: Path) -> dict[str, Any]:
    """A report of version 2, as JSON or as the page that holds it. Raises MediaNotFoundError, InputError for else."""
    if not path.is_file():
        raise MediaNotFoundError(f"{path} is not there: check the path")
    if path.stat().st_size > MAX_REPORT_BYTES:
        raise InputError(f"{path} is no report: it is larger than any")
    try:
        report = json.loads(_embedded(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise InputError(
            f"{path} is no report in JSON or HTML; a PDF has it as its attachment, save that: {error}"
        ) from error
    if not isinstance(report, dict) or report.get("report_version") != REPORT_VERSION:
        raise InputError(f"{path} is no report of version {REPORT_VERSION}")
    try:
        stated = (report["status"], report["evidence"]["sha256_at_receipt"], report["method"]["graph_sha256"])
        posterior(0.0, report["method"]["prior"])
        _compared(report)["robustness"]["panel"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no whole report: {error!r}") from error
    if stated[0] != "DONE":
        raise InputError(f"{path} states no finding ({stated[0]}): there is nothing to repeat")
    return report


def _embedded(text: str) -> str:
    """The JSON of a page (`earwitness.reporting.html`), or `text` itself."""
    _, found, rest = text.partition(EMBEDDED)
    return rest.partition(EMBEDDED_END)[0] if found else text


def verify(report: Mapping[str, Any], recording: Path, detector: OnnxAudioDetector) -> Verification:
    """Examine the recording again; `detector` must work at the report's prior.

    A file with another hash is not examined. Raises ModelMismatchError where the report was made with another graph,
    and what the detector raises.
    """
    method, spec = report["method"], detector.spec
    if not recording.is_file():
        raise MediaNotFoundError(f"{recording} is not there: check the path")
    found, stated = file_sha256(recording), report["evidence"]["sha256_at_receipt"]
    told = Verification(found == stated, found, stated, spec.model_version)
    if not told.same_file:
        return told
    if method["graph_sha256"] != spec.graph_sha256:
        raise ModelMismatchError(
            f"the report was made with {method.get('model_version')}, this is {spec.model_version}: name that one's "
            ".onnx file with --model"
        )
    output = detector.analyze(DetectorInput(recording, {"filename": recording.name}))
    again = _repeated(report, recording, found, output, detector)
    differing = differences(_compared(report), _compared(again))
    tools = differences({"tools": method.get("tools")}, {"tools": again["method"]["tools"]})
    may_reword = any(tool.field == "tools.earwitness" for tool in tools)
    wording = tuple(one for one in differing if may_reword and one.field.startswith(STANDING))
    return replace(
        told, differences=tuple(one for one in differing if one not in wording), wording=wording, tools=tools
    )


def _repeated(
    report: Mapping[str, Any], recording: Path, sha256: str, output: DetectorOutput, detector: OnnxAudioDetector
) -> dict[str, Any]:
    """A report on the new examination, with a second look where `report` has one."""
    now, prior = datetime.now(UTC), report["method"]["prior"]
    media_type = output.media.media_type if output.media else "audio"
    second_look = NO_SECOND_LOOK
    if report["robustness"]["panel"] is not None or report["evidence"]["derived"]:
        _, second_look = look_again(recording, output, detector.scorer, prior)
    repeated = build_report(
        Subject(
            "repeated",
            "DONE",
            EvidenceMetadata(recording.name, media_type, recording.stat().st_size, sha256, sha256),
            CustodyMetadata(now),
        ),
        output=output,
        method=replace(as_used(method_from_spec(detector.spec), output.windows), prior=prior),
        policy=load_action_policy(),
        generated_at=now,
        second_look=second_look,
    )
    again: dict[str, Any] = json.loads(json.dumps(repeated))
    if report["robustness"]["panel"] is None:  # that there is none, and why, is no finding
        again["robustness"] = report["robustness"]
    if report["evidence"]["sha256_at_analysis"] is None:  # nobody hashed it then
        again["evidence"].update(sha256_at_analysis=None, integrity="not_checked")
    return again


def _compared(report: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a report that a second examination must come to as well. Raises KeyError where one is missing."""
    evidence, method = report["evidence"], report["method"]
    return {
        "evidence": {name: evidence[name] for name in EVIDENCE},
        "method": {name: method.get(name) for name in METHOD},
        "robustness": report["robustness"],
        **{name: report[name] for name in BLOCKS},
    }


def as_dict(checked: Verification) -> dict[str, Any]:
    return {"confirmed": checked.confirmed, **asdict(checked)}
