"""The command line: parse, call, write. One function a command, one place where errors become exit codes.

    earwitness analyze FILE... [--json] [--model PATH] [--prior P]
    earwitness analyze FILE --report OUT.pdf [--policy NAME|FILE] [--case ID] [--exhibit ID]
    earwitness scan PATH... --out scores.csv [--parquet scores.parquet] [--jobs N] [--timeout SECONDS]
                    [--json] [--model PATH] [--prior P]
    earwitness verify REPORT.json FILE [--json] [--model PATH]
    earwitness COMMAND ...       of another package, which names it in the entry points `earwitness.commands`

Exit codes, also in --help:
    0  done (a scan is done when every recording has its row, errors included)
    1  a mistake in earwitness itself
    2  the command was typed wrongly
    3  a recording can't be read (the others named beside it were still judged)
    4  the model is missing or does not fit
    5  this machine: disk, memory, time
    6  verify: another file, or another finding
    130  interrupted
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import TypedDict

from tqdm import tqdm

from earwitness import __version__
from earwitness.calibration import DEFAULT_PRIOR
from earwitness.cli_report import ReceivedFile, add_report_options, check_report_options, write_file_report
from earwitness.cli_verify import add_verify
from earwitness.detector import DetectorInput
from earwitness.errors import EarwitnessError, InputError, ModelError
from earwitness.model_spec import file_sha256
from earwitness.onnx_detector import OnnxAudioDetector
from earwitness.parquet import check_parquet, write_parquet
from earwitness.pipeline import ExamineOptions
from earwitness.reporting.characters import visible
from earwitness.scan import DEFAULT_TIMEOUT_S, ScanOptions, scan
from earwitness.score_table import SQL_TYPES
from earwitness.sources import count_recordings, each_recording
from earwitness.writers import AnalysedFile, as_json_line, as_text, error_as_json_line

EXIT_OK, EXIT_USAGE, EXIT_INPUT, EXIT_MODEL, EXIT_HOST, EXIT_INTERRUPTED = 0, 2, 3, 4, 5, 130

COMMANDS_GROUP = "earwitness.commands"
"""Entry points of packages that add commands: each a function of its arguments that returns the exit code."""

EXIT_CODES = """exit codes:
  0 done; 2 wrong command; 3 a recording can't be read; 4 the model is missing or does not fit;
  5 this machine (disk, memory, time); 6 verify found a difference; 130 interrupted; 1 a mistake in earwitness itself"""


class _Style(TypedDict):
    """What the help texts of all commands share."""

    formatter_class: type[argparse.HelpFormatter]
    epilog: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Usage errors leave through argparse with code 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    others = entry_points(group=COMMANDS_GROUP)
    if arguments and arguments[0] in others.names:
        other: Callable[[Sequence[str]], int] = others[arguments[0]].load()
        return other(arguments[1:])
    parsed = _parser(sorted(others.names)).parse_args(arguments)
    parsed.check(parsed)
    try:
        code: int = parsed.command(parsed)
    except EarwitnessError as error:
        if parsed.json:
            print(error_as_json_line(None, error))
        else:
            print(f"earwitness: {visible(str(error))}", file=sys.stderr)
        return _exit_code(error)
    except KeyboardInterrupt:
        print("earwitness: interrupted; a scan goes on where it stopped when it is called again", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    return code


def _analyze(parsed: argparse.Namespace) -> int:
    detector = _detector(parsed)
    code = EXIT_OK
    for name in parsed.files:
        try:
            received = ReceivedFile(Path(name)) if parsed.report else None
            analysed = _analyse_file(detector, name)
            if received is not None:
                write_file_report(parsed, detector, analysed, received)
        except InputError as error:
            code = EXIT_INPUT
            if parsed.json:
                print(error_as_json_line(name, error), flush=True)
            else:
                print(f"{visible(name)}\n  error        {visible(str(error))}\n", file=sys.stderr)
        else:
            print(as_json_line(analysed) if parsed.json else as_text(analysed) + "\n", flush=True)
    return code


def _analyse_file(detector: OnnxAudioDetector, name: str) -> AnalysedFile:
    path = Path(name)
    started = time.perf_counter()
    with tqdm(desc=visible(path.name), unit="s", leave=False, disable=None, delay=1.0) as bar:
        output = detector.analyze(DetectorInput(path), partial(_show_progress, bar))
    processing_ms = (time.perf_counter() - started) * 1000.0
    return AnalysedFile(name, file_sha256(path), path.stat().st_size, processing_ms, output)


def _show_progress(bar: "tqdm[None]", done_s: float, declared_s: float | None) -> None:
    if declared_s is not None:
        bar.total = round(max(declared_s, done_s), 1)  # a header may declare too little
    _advance(bar, done_s)


def _advance(bar: "tqdm[None]", done: float) -> None:
    bar.update(round(done - bar.n, 1))


def _scan(parsed: argparse.Namespace) -> int:
    spec = _detector(parsed).spec  # refuses a broken model before a thousand rows say so
    if parsed.parquet:
        check_parquet()
    named = [Path(name) for name in parsed.paths]
    identity = {
        "model_version": spec.model_version,
        "graph_sha256": spec.graph_sha256,
        "prior": str(parsed.prior),
    }
    options = ExamineOptions(prior=parsed.prior, grounds=False)  # a table has no room for them
    with tqdm(total=count_recordings(named), unit="file", disable=None, file=sys.stderr) as bar:
        summary = scan(
            each_recording(named),
            Path(parsed.out),
            partial(OnnxAudioDetector, parsed.model, options=options),
            identity=identity,
            options=ScanOptions(jobs=parsed.jobs, timeout_s=parsed.timeout),
            progress=lambda rows: _advance(bar, bar.n + rows),
        )
    if parsed.parquet:
        write_parquet(Path(parsed.out), Path(parsed.parquet), columns=SQL_TYPES, notes=identity)
    if parsed.json:
        print(json.dumps({**asdict(summary), "out": parsed.out, "parquet": parsed.parquet}))
    else:
        print(
            f"{summary.recordings} recordings: {summary.judged} judged, {summary.abstained} abstained, "
            f"{summary.failed} failed, {summary.already_there} already there; see {parsed.out}"
        )
    return EXIT_OK


def _detector(parsed: argparse.Namespace) -> OnnxAudioDetector:
    return OnnxAudioDetector(parsed.model, options=ExamineOptions(prior=parsed.prior))


def _exit_code(error: EarwitnessError) -> int:
    if isinstance(error, InputError):
        return EXIT_INPUT
    return EXIT_MODEL if isinstance(error, ModelError) else EXIT_HOST


def _parser(others: Sequence[str]) -> argparse.ArgumentParser:
    """`others` are commands that only the help has to know: they read their own arguments."""
    style: _Style = {"formatter_class": argparse.RawDescriptionHelpFormatter, "epilog": EXIT_CODES}
    parser = argparse.ArgumentParser(
        prog="earwitness", description="Was the speech in this recording made by a machine?", **style
    )
    parser.add_argument("--version", action="version", version=f"earwitness {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    analyze = commands.add_parser("analyze", help="judge recordings and print what was found", **style)
    analyze.add_argument("files", nargs="+", metavar="FILE")
    add_report_options(analyze)
    analyze.set_defaults(command=_analyze, check=partial(check_report_options, analyze=analyze))

    scanner = commands.add_parser("scan", help="judge many recordings into a CSV table; resumes", **style)
    scanner.add_argument("paths", nargs="+", metavar="PATH", help="a recording, a folder, a .csv or a .txt list")
    scanner.add_argument("--out", required=True, metavar="CSV", help="the table; continued where it exists")
    scanner.add_argument("--parquet", metavar="FILE", help="the finished table as a Parquet file too")
    cores = len(os.sched_getaffinity(0))
    scanner.add_argument(
        "--jobs",
        type=_positive,
        default=cores,
        metavar="N",
        help="worker processes (default: one a core, %(default)s)",
    )
    scanner.add_argument(
        "--timeout",
        type=_duration,
        default=DEFAULT_TIMEOUT_S,
        metavar="SECONDS",
        help="for each recording (default %(default)g)",
    )
    scanner.set_defaults(command=_scan, check=lambda _: None)

    add_verify(commands.add_parser("verify", help="check a report against the recording that it is on", **style))
    for name in others:
        commands.add_parser(name, help=f"see `earwitness {name} --help`", add_help=False)

    for command in (analyze, scanner):
        command.add_argument("--model", type=Path, metavar="PATH", help="the .onnx file, its .json beside it")
        command.add_argument(
            "--prior", type=_probability, default=DEFAULT_PRIOR, metavar="P",
            help="probability of spoof before hearing the recording (default %(default)s)",
        )  # fmt: skip
        command.add_argument("--json", action="store_true", help="print JSON, one object a line")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _duration(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def _probability(text: str) -> float:
    value = float(text)
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError("must lie between 0 and 1, both excluded")
    return value
