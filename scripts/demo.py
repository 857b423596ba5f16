"""The whole path once, over HTTP: starts the real service, sends recordings, prints what it found, stops it.

    .venv/bin/python -m scripts.demo                      # the recordings in examples/
    .venv/bin/python -m scripts.demo my.mp3 other.wav     # these
    EARWITNESS_MODEL=my/model.onnx .venv/bin/python -m scripts.demo

Each recording goes through upload, run and report; the reports, as JSON and as PDF, stay under var/demo/reports.
Needs no more than the service does. Exit status: 0 when every recording had its turn, those that can't be examined
included; 2 where the service could not start or broke down; 130 when interrupted.
"""

import argparse
import csv
import fcntl
import http.client
import itertools
import json
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness.calibration import DEFAULT_PRIOR
from earwitness.explain import REASONS, clock, percent
from earwitness.finding import Abstention
from scripts.local_service import HOST, LOG_NAME, RefusedError, Service, ServiceError, running_service

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
DEMO_FOLDER = ROOT / "var" / "demo"

EXIT_OK, EXIT_NO_SERVICE, EXIT_INTERRUPTED = 0, 2, 130
REPORT_SUFFIX, PDF_SUFFIX = ".report.json", ".report.pdf"
NOT_EXAMINED = "not examined"
NONE = "-"
LOG_TAIL_LINES = 20
MAX_NAME_WIDTH = 36  # keeps the table within 115 columns
NAME_END = 13  # of a long name: its extension, and what tells it from its neighbours

LEGEND = f"""
p_fake     probability that the speech is synthetic, at a prior of {100 * DEFAULT_PRIOR:g} %; also that of the stretch
AUTHENTIC  little evidence of synthesis, which is no proof of authenticity
SUSPICIOUS inconclusive, or not judged"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one recording's row says."""

    verdict: str
    took_s: float
    p_fake: float | None = None
    stretch: str = NONE
    note: str | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="demo", description="Send recordings through the real service.")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="default: the recordings in examples/")
    parser.add_argument("--out", type=Path, default=DEMO_FOLDER, metavar="FOLDER", help="default: var/demo")
    parsed = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):  # either way the service is stopped before the demo ends
        signal.signal(number, signal.default_int_handler)
    folder: Path = parsed.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"demo: another demo is using {folder}: let it end, or choose another --out", file=sys.stderr)
            return EXIT_NO_SERVICE
        try:
            demonstrate(parsed.files or examples(), folder)
        except ServiceError as error:
            print(f"demo: {error}; the end of {near(folder / LOG_NAME)}:\n{log_tail(folder)}", file=sys.stderr)
            return EXIT_NO_SERVICE
        except KeyboardInterrupt:
            print("\ndemo: interrupted; the service is stopped", file=sys.stderr)
            return EXIT_INTERRUPTED
    return EXIT_OK


def examples() -> list[Path]:
    """In the order of their manifest."""
    with (EXAMPLES / "manifest.csv").open(newline="", encoding="utf-8") as table:
        return [EXAMPLES / row["file"] for row in csv.DictReader(table)]


def demonstrate(files: Sequence[Path], folder: Path) -> None:
    """Print the table, row by row. Raises ServiceError."""
    reports = folder / "reports"
    reports.mkdir(exist_ok=True)
    for suffix in (REPORT_SUFFIX, PDF_SUFFIX):
        for old in reports.glob(f"*{suffix}"):
            old.unlink()
    names = [short(path.name) for path in files]
    width = max(len("file"), *map(len, names))
    not_examined = 0
    print("starting the service ...", flush=True)
    with running_service(folder) as service:
        print(f"it listens on http://{HOST}:{service.port}\n")
        print(f"{'file':<{width}}  {'verdict':<12}  {'p_fake':>11}  {'most suspicious stretch':<31}  {'took':>8}")
        for path, name in zip(files, names, strict=True):
            print(f"{name:<{width}}", end="", flush=True)  # the rest of the row follows when it is known
            try:
                outcome = examine(service, path, reports)
            except ServiceError:
                print()  # what it says begins a line of its own
                raise
            not_examined += outcome.verdict == NOT_EXAMINED
            p_fake = NONE if outcome.p_fake is None else percent(outcome.p_fake)
            took = f"{outcome.took_s:.2f} s"
            print(f"  {outcome.verdict:<12}  {p_fake:>11}  {outcome.stretch:<31}  {took:>8}", flush=True)
            if outcome.note:
                print(f"{'':<{width}}  {outcome.note}")
    print(LEGEND)
    examined = f"{len(files) - not_examined} of {len(files)} recordings examined"
    print(f"\n{examined}; the reports: {near(reports)}/NAME{REPORT_SUFFIX} and {PDF_SUFFIX}")


def examine(service: Service, path: Path, reports: Path) -> Outcome:
    """Upload, run and report. What is wrong with one recording is its row; raises ServiceError for the rest."""
    started = time.perf_counter()
    try:
        if not path.is_file():
            raise RefusedError(f"there is no file {path}")
        analysis = f"/v1/analysis/{service.upload(path)}"
        report = run_and_report(service, analysis)
        took_s = time.perf_counter() - started
        # Read by people; it examines the recording once more, under other conditions, so its time is not the run's.
        document = service.page(f"{analysis}/report", "application/pdf")
        keep(report, document, reports, path.name)
    except (ConnectionError, http.client.HTTPException) as error:
        if service.has_ended():
            raise ServiceError(f"the service broke down over {printable(path.name)}") from error
        problem = f"no answer: {error}"
    except (RefusedError, OSError) as error:
        problem = str(error)
    else:
        return outcome_of(report, took_s)
    return Outcome(NOT_EXAMINED, time.perf_counter() - started, note=printable(problem))


def run_and_report(service: Service, analysis: str) -> dict[str, Any]:
    """The report; a run that failed has one too, which says why."""
    failure = None
    try:
        service.ask("POST", f"{analysis}/run")
    except RefusedError as error:
        failure = error
    try:
        return service.ask("GET", f"{analysis}/report")
    except RefusedError as error:
        raise failure or error from error


def outcome_of(report: Mapping[str, Any], took_s: float) -> Outcome:
    result, failure = report["result"], report["failure"]
    if failure is not None:
        return Outcome(NOT_EXAMINED, took_s, note=printable(f"{failure['message']} ({failure['code']})"))
    worst = result["most_suspicious"]
    reasons = ", and ".join(REASONS[Abstention(code)] for code in result["abstentions"])
    return Outcome(
        result["verdict"],
        took_s,
        p_fake=result["p_fake"],
        stretch=f"{clock(worst['start_s'])} to {clock(worst['end_s'])}, {percent(worst['p_fake'])}"
        if worst
        else NONE,
        note=f"not judged: {reasons}" if reasons else None,
    )


def keep(report: Mapping[str, Any], document: bytes, folder: Path, name: str) -> None:
    """Both under the recording's name; a second recording of that name gets a number."""
    stem, numbers = name, itertools.count(2)
    while (folder / f"{stem}{REPORT_SUFFIX}").exists():
        stem = f"{name}.{next(numbers)}"
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    partial = folder / ".partial"
    for suffix, content in ((PDF_SUFFIX, document), (REPORT_SUFFIX, text.encode())):
        partial.write_bytes(content)
        partial.replace(folder / f"{stem}{suffix}")


def log_tail(folder: Path) -> str:
    lines = (folder / LOG_NAME).read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"  {printable(line)}" for line in lines[-LOG_TAIL_LINES:])


def printable(text: str) -> str:
    """Without characters that would move a terminal's cursor, or that it can't show at all."""
    return "".join(character if character.isprintable() else "?" for character in text)


def short(name: str) -> str:
    """A long name loses its middle."""
    clean = printable(name)
    if len(clean) <= MAX_NAME_WIDTH:
        return clean
    return f"{clean[: MAX_NAME_WIDTH - NAME_END - 3]}...{clean[-NAME_END:]}"


def near(path: Path) -> Path:
    """As seen from here, where it is below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


if __name__ == "__main__":
    sys.exit(main())
