"""A report as a file, and `earwitness analyze FILE --report OUT`."""

import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pypdf
import pytest

from earwitness.cli import main
from earwitness.errors import OutputError, ReportError
from earwitness.model_spec import MODEL_ENVIRONMENT_VARIABLE
from earwitness.reporting.contents import report_schema
from earwitness.reporting.forms import Form, form_of, render, write_report
from tests.audio_files import write_audio
from tests.reports import a_report, a_subject, an_output
from tests.speechlike import speechlike


@pytest.fixture
def clip(tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(MODEL_ENVIRONMENT_VARIABLE, str(toy_model))
    return write_audio(tmp_path / "a clip.wav", speechlike(5.0))


@pytest.mark.parametrize(
    ("name", "form"), [("a.pdf", Form.PDF), ("a.HTML", Form.HTML), ("a.htm", Form.HTML), ("b.c.json", Form.JSON)]
)
def test_the_ending_says_the_form(name: str, form: Form) -> None:
    assert form_of(Path(name)) is form


@pytest.mark.parametrize("name", ["a.docx", "a", ".pdf"])
def test_another_ending_is_refused(name: str) -> None:
    with pytest.raises(OutputError, match=r"\.pdf, \.html or \.json"):
        form_of(Path(name))


def test_analyze_writes_the_full_report_as_json(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"

    assert (
        main(["analyze", str(clip), "--report", str(out), "--case", "7", "--exhibit", "A-1", "--prior", "0.2"])
        == 0
    )

    report = json.loads(out.read_text())
    jsonschema.Draft202012Validator(report_schema()).validate(report)
    assert report["evidence"]["sha256_at_receipt"] == hashlib.sha256(clip.read_bytes()).hexdigest()
    assert report["evidence"]["integrity"] == "verified"
    assert (report["chain_of_custody"]["case_id"], report["chain_of_custody"]["exhibit_id"]) == ("7", "A-1")
    assert report["method"]["prior"] == report["result"]["prior"] == 0.2
    assert report["robustness"]["panel"]["windows"] == 2
    assert [event["event"] for event in report["chain_of_custody"]["events"]] == [
        "file_hashed", "examined", "file_hashed_again",
    ]  # fmt: skip


def test_analyze_writes_a_pdf_and_a_page(clip: Path, tmp_path: Path) -> None:
    pdf, page = tmp_path / "out.pdf", tmp_path / "out.html"

    assert main(["analyze", str(clip), "--report", str(pdf)]) == 0
    assert main(["analyze", str(clip), "--report", str(page)]) == 0

    assert "a clip.wav" in pypdf.PdfReader(io.BytesIO(pdf.read_bytes())).pages[0].extract_text()
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a clip.wav", "out.html", "out.pdf"]


def test_the_actions_come_from_the_named_policy(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"

    main(["analyze", str(clip), "--report", str(out), "--policy", "fraud-desk"])

    report = json.loads(out.read_text())
    assert report["method"]["action_policy_version"].startswith("fraud-desk")
    assert "call_back" in [action["id"] for action in report["recommended_actions"]]


@pytest.mark.parametrize(
    "arguments", [["--report", "out.docx"], ["second.wav", "--report", "out.pdf"]], ids=["ending", "two files"]
)
def test_a_report_option_typed_wrongly_is_a_usage_error(clip: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["analyze", str(clip), *arguments])

    assert stopped.value.code == 2


def test_an_unreadable_recording_leaves_no_report(clip: Path, tmp_path: Path) -> None:
    clip.write_bytes(b"no sound")
    out = tmp_path / "out.pdf"

    assert main(["analyze", str(clip), "--report", str(out)]) == 3
    assert main(["analyze", str(tmp_path / "none.wav"), "--report", str(out)]) == 3
    assert not out.exists()


def test_a_folder_that_is_not_there_is_the_hosts_fault(clip: Path, tmp_path: Path) -> None:
    assert main(["analyze", str(clip), "--report", str(tmp_path / "none" / "out.json")]) == 5


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    out.mkdir()

    with pytest.raises(OutputError, match="can't be written"):
        write_report(out, b"{}")

    assert list(tmp_path.iterdir()) == [out]


def test_without_the_extra_the_pdf_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "earwitness.reporting.pdf", raising=False)
    monkeypatch.setitem(sys.modules, "typst", None)
    report = a_report(an_output())

    with pytest.raises(ReportError, match=r"typst is not installed: pip install 'earwitness\[report\]'"):
        render(report, None, Form.PDF)
    assert render(report, None, Form.HTML).startswith(b"<!DOCTYPE")


def test_the_command_line_starts_without_the_extra() -> None:
    code = "import sys, earwitness.cli; print([m for m in ('typst', 'fontTools') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"


def test_a_name_that_is_no_unicode_still_makes_every_form() -> None:
    report = a_report(an_output(), a_subject("lone \udce9.wav"))

    assert b"lone [U+DCE9].wav" in render(report, None, Form.HTML)
    assert json.loads(render(report, None, Form.JSON)) == report
    reader = pypdf.PdfReader(io.BytesIO(render(report, None, Form.PDF)))
    assert json.loads(reader.attachments["report.json"][0]) == report
