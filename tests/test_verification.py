import json
from pathlib import Path
from typing import Any

import pytest

from earwitness.calibration import Calibration
from earwitness.cli import main
from tests.audio_files import write_audio
from tests.speechlike import repeated, speechlike
from tests.toy_model import write_toy_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording, a model, and the report on the one by the other, at a prior of its own."""
    place = tmp_path_factory.mktemp("verify")
    write_audio(place / "a.wav", speechlike(6.0))
    model = write_toy_model(place)
    report = ["--report", str(place / "r.json"), "--model", str(model), "--prior", "0.2"]
    assert main(["analyze", str(place / "a.wav"), *report]) == 0
    return place


def verify(folder: Path, report: str = "r.json", recording: str = "a.wav", model: str = "toy.onnx") -> list[str]:
    return ["verify", str(folder / report), str(folder / recording), "--model", str(folder / model)]


def test_a_report_on_this_file_by_this_model_is_confirmed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*verify(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["confirmed"], told["differences"], told["tools"]) == (True, [], [])
    assert main(verify(folder)) == 0
    assert "finding   the same, to the last digit" in capsys.readouterr().out


def test_a_page_is_read_like_its_json(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    assert (
        main(["analyze", str(folder / "a.wav"), "--report", str(page), "--model", str(folder / "toy.onnx")]) == 0
    )
    assert main(["verify", str(page), str(folder / "a.wav"), "--model", str(folder / "toy.onnx")]) == 0


def test_a_report_on_a_long_recording_is_confirmed(folder: Path, tmp_path: Path) -> None:
    """Its windows do not overlap, other than the model's plan says."""
    write_audio(tmp_path / "long.wav", repeated(speechlike(20.0), 31.0))
    model = ["--model", str(folder / "toy.onnx")]
    assert main(["analyze", str(tmp_path / "long.wav"), "--report", str(tmp_path / "l.json"), *model]) == 0
    report = json.loads((tmp_path / "l.json").read_text())
    assert report["method"]["hop_s"] == report["method"]["window_s"]
    assert main(["verify", str(tmp_path / "l.json"), str(tmp_path / "long.wav"), *model]) == 0


def test_the_examiner_stands_in_the_chain_of_custody(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    named = ["--model", str(folder / "toy.onnx"), "--examiner", "J. Doe"]
    assert main(["analyze", str(folder / "a.wav"), "--report", str(out), *named]) == 0
    custody = json.loads(out.read_text())["chain_of_custody"]
    assert custody["created_by"] == "J. Doe"
    assert {event["actor"] for event in custody["events"]} == {"J. Doe"}


def test_sentences_of_another_version_are_told_apart_from_the_finding(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads((folder / "r.json").read_text())
    report["method"]["tools"]["earwitness"] = "0.0.9"
    report["limitations"] = ["As it was said then."]
    (folder / "old.json").write_text(json.dumps(report))
    assert main(verify(folder, report="old.json")) == 0
    said = capsys.readouterr().out
    assert "wording   differs in 1 places" in said
    assert "As it was said then." in said
    report["result"]["p_fake"] = 0.5
    (folder / "old.json").write_text(json.dumps(report))
    assert main(verify(folder, report="old.json")) == 6


@pytest.mark.parametrize("prior", [0, 1, 2, -1, True, "0.5", None])
def test_a_report_at_an_impossible_prior_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], prior: object
) -> None:
    report = json.loads((folder / "r.json").read_text())
    report["method"]["prior"] = prior
    (folder / "prior.json").write_text(json.dumps(report))
    assert main(verify(folder, report="prior.json")) == 3
    assert "no whole report" in capsys.readouterr().err


def test_another_file_is_told_and_not_examined(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_audio(folder / "b.wav", speechlike(6.0)[:-1])
    assert main([*verify(folder, recording="b.wav"), "--json"]) == 6
    told = json.loads(capsys.readouterr().out)
    assert (told["same_file"], told["confirmed"], told["differences"]) == (False, False, [])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda r: r["result"].update(p_fake=0.5), "result.p_fake"),
        (lambda r: r["timeline"][0].update(llr=9.0), "timeline[0].llr"),
        (lambda r: r["findings"]["signals"][0].update(value=-1.0), "findings.signals[0].value"),
        (lambda r: r["propositions"].update(spoof="The speech is by Mr X."), "propositions.spoof"),
        (lambda r: r.update(limitations=[]), "limitations"),
        (lambda r: r.update(undetermined=[]), "undetermined"),
        (lambda r: r.update(validation={"eer": 0.001}), "validation"),
        (lambda r: r["evidence"].update(codec="flac"), "evidence.codec"),
        (lambda r: r["evidence"].update(sha256_at_analysis="f" * 64), "evidence.sha256_at_analysis"),
        (lambda r: r["evidence"]["derived"][0].update(sha256="0" * 64), "evidence.derived[0].sha256"),
        (lambda r: r["robustness"]["panel"].update(llr_low=-9.0), "robustness.panel.llr_low"),
        (lambda r: r["method"].update(model_version="another"), "method.model_version"),
        (lambda r: r["method"].update(preprocessing="none"), "method.preprocessing"),
    ],
)
def test_a_changed_report_is_told_field_by_field(
    folder: Path, capsys: pytest.CaptureFixture[str], change: Any, field: str
) -> None:
    report = json.loads((folder / "r.json").read_text())
    change(report)
    (folder / "changed.json").write_text(json.dumps(report))
    assert main([*verify(folder, report="changed.json"), "--json"]) == 6
    told = json.loads(capsys.readouterr().out)
    assert [one["field"] for one in told["differences"]] == [field]
    assert main(verify(folder, report="changed.json")) == 6
    assert f"{field}: " in capsys.readouterr().out


def test_the_same_graph_with_another_calibration_differs_in_its_method(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steep = write_toy_model(tmp_path, calibration=Calibration(slope=3.0, intercept=0.0, llr_min=-6.0, llr_max=6.0))
    assert main([*verify(folder)[:-1], str(steep), "--json"]) == 6
    fields = [one["field"] for one in json.loads(capsys.readouterr().out)["differences"]]
    assert "method.calibration.slope" in fields and "result.llr" in fields


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%PDF", "no report in JSON or HTML"),
        ("[]", "no report of version 2"),
        ('{"report_version": 1}', "no report of version 2"),
        ('{"report_version": 2}', "no whole report"),
    ],
)
def test_what_is_no_report_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    (folder / "none.json").write_text(text)
    assert main(verify(folder, report="none.json")) == 3
    assert message in capsys.readouterr().err


def test_a_report_by_another_model_names_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads((folder / "r.json").read_text())
    report["method"].update(graph_sha256="0" * 64, model_version="that-one")
    (folder / "other.json").write_text(json.dumps(report))
    assert main(verify(folder, report="other.json")) == 4
    assert "that-one" in capsys.readouterr().err
