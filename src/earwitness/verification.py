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
from earwitness.comparison import Difference, differences
from earwitness.detector import DetectorInput
from earwitness.errors import InputError, MediaNotFoundError, ModelMismatchError
from earwitness.model_spec import file_sha256
from earwitness.onnx_detector import OnnxAudioDetector
from earwitness.report import CustodyMetadata, EvidenceMetadata, method_from_spec
from earwitness.reporting.contents import REPORT_VERSION, Subject, build_report

BLOCKS = ("result", "findings", "key_findings", "interpretation", "timeline", "suitability")
"""What rests on the recording and the model alone; the rest is case, custody, a second look and standing text."""
METHOD = ("calibration", "thresholds", "limits", "window_s", "hop_s", "canonical_version")
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

    @property
    def confirmed(self) -> bool:
        return self.same_file and not self.differences


def read_report(path: Path) -> dict[str, Any]:
    """A report of version 2, as JSON. Raises MediaNotFoundError, InputError for anything else."""
    if not path.is_file():
        raise MediaNotFoundError(f"{path} is not there: check the path")
    if path.stat().st_size > MAX_REPORT_BYTES:
        raise InputError(f"{path} is no report: it is larger than any")
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is no report in JSON; a PDF has it as its attachment: {error}") from error
    if not isinstance(report, dict) or report.get("report_version") != REPORT_VERSION:
        raise InputError(f"{path} is no report of version {REPORT_VERSION}")
    try:
        stated = (report["status"], report["evidence"]["sha256_at_receipt"], report["method"]["graph_sha256"])
        report["method"]["prior"] * 1.0
        [report[name] for name in BLOCKS]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is no whole report: {error!r}") from error
    if stated[0] != "DONE":
        raise InputError(f"{path} states no finding ({stated[0]}): there is nothing to repeat")
    return report


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
    now = datetime.now(UTC)
    evidence = EvidenceMetadata(recording.name, "audio", recording.stat().st_size, found, found)
    repeated = build_report(
        Subject("repeated", "DONE", evidence, CustodyMetadata(now)),
        output=output,
        method=replace(method_from_spec(spec), prior=method["prior"]),
        policy=load_action_policy(),
        generated_at=now,
    )
    again: dict[str, Any] = json.loads(json.dumps(repeated))
    return replace(
        told,
        differences=(
            *differences(
                {"method": {name: method.get(name) for name in METHOD}},
                {"method": {name: again["method"].get(name) for name in METHOD}},
            ),
            *differences({name: report[name] for name in BLOCKS}, {name: again[name] for name in BLOCKS}),
        ),
        tools=differences({"tools": method.get("tools")}, {"tools": again["method"]["tools"]}),
    )


def as_dict(checked: Verification) -> dict[str, Any]:
    return {"confirmed": checked.confirmed, **asdict(checked)}
