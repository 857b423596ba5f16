"""`earwitness analyze FILE --report OUT`: the options, and the report on the one recording that was examined."""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from earwitness.actions import SHIPPED_POLICIES, find_action_policy
from earwitness.errors import OutputError
from earwitness.model_spec import file_sha256
from earwitness.onnx_detector import OnnxAudioDetector
from earwitness.reporting.forms import form_of, render, write_report
from earwitness.reporting.full import CaseFields, report_on_file
from earwitness.writers import AnalysedFile


def add_report_options(analyze: argparse.ArgumentParser) -> None:
    group = analyze.add_argument_group("forensic report, on one FILE")
    group.add_argument(
        "--report", type=_report_path, metavar="OUT", help="write the full report: .pdf, .html or .json"
    )
    group.add_argument(
        "--policy",
        default="general",
        metavar="NAME|FILE",
        help=f"where recommended actions come from: {', '.join(SHIPPED_POLICIES)}, or a file (default general)",
    )
    group.add_argument("--case", metavar="ID", help="the case's number, for the title block")
    group.add_argument("--exhibit", metavar="ID", help="the exhibit's number")
    group.add_argument("--examiner", metavar="NAME", help="who examines it, for the chain of custody")


def check_report_options(parsed: argparse.Namespace, analyze: argparse.ArgumentParser) -> None:
    """Leaves through argparse where the options don't fit together."""
    if parsed.report is not None and len(parsed.files) != 1:
        analyze.error("--report is on one recording: name one FILE")


class ReceivedFile:
    """A recording's hash as it was before it was examined, and when."""

    def __init__(self, path: Path) -> None:
        self.begun_at = datetime.now(UTC)
        self.sha256 = file_sha256(path) if path.is_file() else None


def write_file_report(
    parsed: argparse.Namespace, detector: OnnxAudioDetector, analysed: AnalysedFile, received: ReceivedFile
) -> None:
    """Raises OutputError, ActionPolicyError or ReportError; then nothing was written."""
    assert received.sha256 is not None  # what is no file was refused before it was examined
    report, outline = report_on_file(
        Path(analysed.name),
        analysed.output,
        detector.scorer,
        begun_at=received.begun_at,
        sha256_at_receipt=received.sha256,
        policy=find_action_policy(parsed.policy),
        prior=parsed.prior,
        case=CaseFields(parsed.case, parsed.exhibit, parsed.examiner),
    )
    write_report(parsed.report, render(report, outline, form_of(parsed.report)))


def _report_path(text: str) -> Path:
    path = Path(text)
    try:
        form_of(path)
    except OutputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return path
