"""`earwitness verify REPORT.json FILE`: the same file, the same model, the same finding?"""

import argparse
import json
from pathlib import Path

from earwitness.comparison import Difference
from earwitness.onnx_detector import OnnxAudioDetector
from earwitness.pipeline import ExamineOptions
from earwitness.verification import Verification, as_dict, read_report, verify

EXIT_DIFFERS = 6
SHOWN_DIFFERENCES = 20


def add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "report", metavar="REPORT", help="a report of this program or of the service, .json or .html"
    )
    parser.add_argument("file", metavar="FILE", help="the recording that it is on")
    parser.add_argument("--model", type=Path, metavar="PATH", help="the .onnx file, its .json beside it")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_verify, check=lambda _: None)


def _verify(parsed: argparse.Namespace) -> int:
    report = read_report(Path(parsed.report))
    detector = OnnxAudioDetector(parsed.model, options=ExamineOptions(prior=float(report["method"]["prior"])))
    checked = verify(report, Path(parsed.file), detector)
    print(json.dumps(as_dict(checked)) if parsed.json else as_text(checked))
    return 0 if checked.confirmed else EXIT_DIFFERS


def as_text(checked: Verification) -> str:
    if not checked.same_file:
        return (
            "file      another one: the report is on the file with SHA-256\n"
            f"          {checked.stated_sha256}, this one has\n          {checked.found_sha256}"
        )
    lines = [f"file      the same, SHA-256 {checked.found_sha256}", f"model     the same, {checked.model_version}"]
    if checked.wording:
        lines.append(
            f"wording   differs in {len(checked.wording)} places, for another version of earwitness wrote it"
        )
        lines += _shown(checked.wording)
    if not checked.differences:
        return "\n".join(
            [*lines, "finding   the same, to the last digit", f"          not compared: {checked.not_compared}"]
        )
    lines.append(f"finding   differs in {len(checked.differences)} places")
    lines += _shown(checked.differences)
    lines += [f"tools     {one.field}: {one.recorded!r} then, {one.repeated!r} now" for one in checked.tools]
    return "\n".join(lines)


def _shown(found: tuple[Difference, ...]) -> list[str]:
    return [
        f"          {one.field}: {one.recorded!r} in the report, {one.repeated!r} now"
        for one in found[:SHOWN_DIFFERENCES]
    ]
