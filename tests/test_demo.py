"""`make demo`: the script against the real service with the toy model, in a folder of its own; and the examples."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pypdf
import pytest

from earwitness.explain import clock, percent
from earwitness.model_spec import file_sha256
from earwitness.reporting.contents import report_schema
from scripts.demo import EXAMPLES, examine, examples, keep, outcome_of, short
from scripts.local_service import HOST, Service, ServiceError
from tests.audio_files import write_audio
from tests.speechlike import speechlike
from tests.toy_model import SPEC, write_toy_model

LIMIT_S = 120
GOOD = 'tägliche "Probe".wav'


@dataclass(frozen=True)
class Demo:
    done: subprocess.CompletedProcess[str]
    good: Path
    reports: Path


def demo_command(out: Path, *files: Path) -> list[str]:
    return [sys.executable, "-m", "scripts.demo", "--out", str(out), *map(str, files)]


def environment(model: Path, **settings: str) -> dict[str, str]:
    return {**os.environ, "EARWITNESS_MODEL": str(model), **settings}


def assert_nothing_listens(folder: Path) -> None:
    port = int((folder / "service" / "port").read_text())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port), timeout=5)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Of one good recording, a text called .wav and a file that is not there; the folder has an older demo's files."""
    folder = tmp_path_factory.mktemp("demo")
    good = write_audio(folder / GOOD, speechlike(6.0))
    text = folder / "notes.wav"
    text.write_text("This is no recording at all.\n" * 50)
    out = folder / "out"
    for left in (out / "service" / "earwitness.db", out / "reports" / "older.wav.report.json"):
        left.parent.mkdir(parents=True)
        left.write_text("of an older demo")
    # What the user's shell has set for another service must not reach the demo's.
    settings = environment(write_toy_model(folder), EARWITNESS_MODE="production", EARWITNESS_PORT="1")
    done = subprocess.run(
        demo_command(out, good, text, folder / "lost.mp3"),
        env=settings,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return Demo(done, good, out / "reports")


def rows(done: subprocess.CompletedProcess[str]) -> dict[str, list[str]]:
    """Each row's cells behind the file's name, then its note."""
    table = done.stdout.split("took\n", 1)[1].split("\n\n", 1)[0]
    found: dict[str, list[str]] = {}
    for line in table.splitlines():
        cells = re.split(" {2,}", line.rstrip())
        if cells[0]:
            name = cells[0]
            found[name] = []
        found[name] += cells[1:]
    return found


def test_every_file_has_its_row_and_the_demo_succeeds(demo: Demo) -> None:
    assert (demo.done.returncode, demo.done.stderr) == (0, "")
    assert list(rows(demo.done)) == [GOOD, "notes.wav", "lost.mp3"]
    assert "1 of 3 recordings examined" in demo.done.stdout
    assert "at a prior of 50 %" in demo.done.stdout


def test_the_row_of_a_good_recording_says_what_its_report_says(demo: Demo) -> None:
    report = json.loads((demo.reports / f"{GOOD}.report.json").read_text(encoding="utf-8"))
    jsonschema.validate(report, report_schema())
    assert report["evidence"]["sha256_at_analysis"] == file_sha256(demo.good)
    assert report["method"]["model_version"] == SPEC.model_version
    result, worst = report["result"], report["result"]["most_suspicious"]
    stretch = f"{clock(worst['start_s'])} to {clock(worst['end_s'])}, {percent(worst['p_fake'])}"
    verdict, p_fake, told_stretch, took = rows(demo.done)[GOOD]
    assert (verdict, p_fake, told_stretch) == (result["verdict"], percent(result["p_fake"]), stretch)
    assert re.fullmatch(r"\d+\.\d\d s", took)


@pytest.mark.parametrize(
    ("name", "reason"), [("notes.wav", "unsupported_media"), ("lost.mp3", "there is no file")]
)
def test_what_cannot_be_examined_is_a_row_with_its_reason_and_has_no_report(
    demo: Demo, name: str, reason: str
) -> None:
    verdict, p_fake, stretch, _took, note = rows(demo.done)[name]
    assert (verdict, p_fake, stretch) == ("not examined", "-", "-")
    assert reason in note
    assert {path.name for path in demo.reports.iterdir()} == {f"{GOOD}.report.json", f"{GOOD}.report.pdf"}


def test_the_report_of_a_good_recording_is_there_as_a_pdf_too(demo: Demo) -> None:
    document = pypdf.PdfReader(demo.reports / f"{GOOD}.report.pdf")
    assert file_sha256(demo.good) in "".join(page.extract_text() for page in document.pages).replace("\n", "")
    assert len(document.attachments) == 1


def test_the_service_is_stopped_at_the_end(demo: Demo) -> None:
    assert_nothing_listens(demo.reports.parent)


def test_a_service_that_cannot_start_ends_the_demo_with_the_reason(tmp_path: Path) -> None:
    done = subprocess.run(
        demo_command(tmp_path), env=environment(tmp_path / "no.onnx"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "could not start" in done.stderr
    assert "no model graph" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_stops_its_service(tmp_path: Path, number: signal.Signals) -> None:
    recording = write_audio(tmp_path / "a.wav", speechlike(4.0))
    demo = subprocess.Popen(
        demo_command(tmp_path / "out", *[recording] * 1_000),
        env=environment(write_toy_model(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert demo.stdout is not None
    while not demo.stdout.readline().startswith("a.wav"):
        assert demo.poll() is None
    demo.send_signal(number)
    _, complaint = demo.communicate(timeout=LIMIT_S)
    assert demo.returncode == 130
    assert complaint == "\ndemo: interrupted; the service is stopped\n"
    assert_nothing_listens(tmp_path / "out")


def test_a_service_that_breaks_down_ends_the_demo(tmp_path: Path) -> None:
    recording = write_audio(tmp_path / "a.wav", speechlike(1.0))
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]  # free again in a moment
    gone = subprocess.Popen([sys.executable, "-c", ""])
    with pytest.raises(ServiceError, match=r"broke down over a\.wav"):
        examine(Service(gone, port), recording, tmp_path)


def test_an_abstention_is_told_with_its_reason() -> None:
    result: dict[str, object] = {
        "verdict": "SUSPICIOUS",
        "p_fake": None,
        "most_suspicious": None,
        "abstentions": ["no_audio_track"],
    }
    outcome = outcome_of({"result": result, "failure": None}, took_s=0.1)
    assert (outcome.verdict, outcome.p_fake) == ("SUSPICIOUS", None)
    assert outcome.note == "not judged: the file holds no audio track"


def test_a_failed_run_is_told_as_not_examined() -> None:
    failure = {"code": "run_timeout", "message": "it took too long"}
    result: dict[str, object] = {
        "verdict": "SUSPICIOUS",
        "p_fake": None,
        "most_suspicious": None,
        "abstentions": [],
    }
    outcome = outcome_of({"result": result, "failure": failure}, took_s=0.1)
    assert (outcome.verdict, outcome.note) == ("not examined", "it took too long (run_timeout)")


def test_recordings_of_one_name_do_not_overwrite_each_others_reports(tmp_path: Path) -> None:
    for number in range(3):
        keep({"number": number}, f"pdf {number}".encode(), tmp_path, "a.wav")
    kept = {path.name: json.loads(path.read_text())["number"] for path in tmp_path.glob("*.json")}
    assert kept == {"a.wav.report.json": 0, "a.wav.2.report.json": 1, "a.wav.3.report.json": 2}
    documents = {path.name: path.read_text() for path in tmp_path.glob("*.pdf")}
    assert documents == {"a.wav.report.pdf": "pdf 0", "a.wav.2.report.pdf": "pdf 1", "a.wav.3.report.pdf": "pdf 2"}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a.wav", "a.wav"),
        ("red\x1b[31m\n.wav", "red?[31m?.wav"),
        ("a" * 40 + "-take-12.flac", "a" * 20 + "...-take-12.flac"),
    ],
)
def test_names_are_told_so_that_they_keep_the_table_whole(name: str, told: str) -> None:
    assert short(name) == told


def test_the_examples_are_the_files_of_their_manifest() -> None:
    with (EXAMPLES / "manifest.csv").open(newline="", encoding="utf-8") as table:
        listed = list(csv.DictReader(table))
    assert [row["sha256"] for row in listed] == [file_sha256(path) for path in examples()]
    others = {"README.md", "make_examples.py", "manifest.csv"}
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == others | {row["file"] for row in listed}
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for row in listed:
        (line,) = (line for line in readme.splitlines() if line.startswith(f"| {row['file']} |"))
        assert line.split(" | ")[1:3] == [row["expected"], row["what"]]
        assert line.endswith(f"| {row['licence']} |")
