"""Step B5: the report keeps its published schema and its shape, says what a forensic report must, in three forms."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pypdf
import pytest
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator

from app.application import create_app
from app.detectors.source import DummySource, OnnxSource
from app.errors import NotAcceptableError
from app.reports.negotiation import negotiated
from app.settings import Settings
from earwitness.dummy import DummyDetector
from earwitness.report import report_schema as schema_of_version_1
from earwitness.reporting.contents import report_schema
from earwitness.reporting.forms import Form
from earwitness.reporting.html import content_policy
from tests.audio_files import write_audio
from tests.speechlike import speechlike
from tests.toy_model import write_toy_model

Upload = Callable[..., str]
SNAPSHOTS = Path(__file__).with_name("snapshots")
VOLATILE = {"analysis_id", "generated_at", "created_at", "analysed_at", "at", "run_id", "row_sha256", "tools"}
"""What differs from one report on the same evidence to the next: ids, times, hashes of both, installed versions."""


def run_of(client: TestClient, upload: Upload, name: str = "a.wav", **fields: Any) -> str:
    """The path of the report on a recording that was examined."""
    analysis_id = upload(client, name, **fields)
    client.post(f"/v1/analysis/{analysis_id}/run")
    return f"/v1/analysis/{analysis_id}/report"


def examined(client: TestClient, upload: Upload, name: str = "a.wav", **fields: str) -> Any:
    return client.get(run_of(client, upload, name, **fields))


def steadied(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: f"<{k}>" if k in VOLATILE and v is not None else steadied(v) for k, v in value.items()}
    return [steadied(item) for item in value] if isinstance(value, list) else value


def test_contract_the_report_follows_its_published_schema(client: TestClient, upload: Upload) -> None:
    answer = examined(client, upload, case_id="7", device_id="pixel")
    assert answer.status_code == 200
    Draft202012Validator(report_schema()).validate(answer.json())


def test_contract_the_report_on_a_failed_run_follows_the_schema_too(client: TestClient, upload: Upload) -> None:
    report = examined(client, upload, "raise_input-1.wav").json()
    Draft202012Validator(report_schema()).validate(report)
    assert report["failure"]["code"] == "media_unreadable"
    assert (report["result"]["verdict"], report["result"]["confidence"]) == ("SUSPICIOUS", 0.0)


def test_the_report_holds_what_the_guide_asks_for(client: TestClient, upload: Upload, wav: bytes) -> None:
    report = examined(client, upload, device_id="pixel").json()
    assert report["report_version"] == 2
    assert report["evidence"]["integrity"] == "verified"
    assert report["evidence"]["size_bytes"] == len(wav)
    assert report["result"]["verdict"] == "SUSPICIOUS" and report["result"]["confidence"] == 0.5
    assert report["key_findings"] and report["recommended_actions"]
    custody = report["chain_of_custody"]
    assert custody["created_at"] and custody["device_id"] == "pixel" and custody["case_id"] is None
    assert [event["event"] for event in custody["events"]] == [
        "evidence_received", "run_requested", "run_done", "report_issued",
    ]  # fmt: skip


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", ["deepfake", "failed"])
def test_snapshot_the_shape_of_the_report_is_stable(
    make_client: Callable[..., TestClient], upload: Upload, name: str, version: int
) -> None:
    """After a change that is meant: raise report_version if readers break, delete the file and run this test."""
    client = make_client(detector=DummySource(DummyDetector(p_fake=0.9), by_filename=True))
    file = "raise_input-1.wav" if name == "failed" else "a.wav"
    path_of_report = run_of(client, upload, file, case_id="2026-1")
    report = steadied(client.get(path_of_report, params={"report_version": version}).json())
    path = SNAPSHOTS / f"report-v{version}-{name}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
        pytest.fail(f"{path.name} was missing and has been written: look at it and commit it")
    assert report == json.loads(path.read_text())


def test_a_report_of_version_1_as_it_was_issued_stays_valid() -> None:
    """A report as someone has it in a file: today's schema for version 1 must still take it. No test writes it."""
    issued = json.loads((SNAPSHOTS / "issued-v1.json").read_text())
    assert issued["report_version"] == 1
    Draft202012Validator(schema_of_version_1()).validate(issued)


@pytest.mark.parametrize("name", ["a.wav", "raise_input-1.wav"])
def test_version_1_is_still_issued_to_those_who_ask_for_it(client: TestClient, upload: Upload, name: str) -> None:
    path = run_of(client, upload, name)
    report = client.get(path, params={"report_version": 1}).json()
    Draft202012Validator(schema_of_version_1()).validate(report)
    refused = client.get(path, params={"report_version": 1}, headers={"Accept": "application/pdf"})
    assert refused.status_code == 406
    assert client.get(path, params={"report_version": 3}).status_code == 422


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", Form.JSON),
        ("", Form.JSON),
        ("application/json", Form.JSON),
        ("application/*", Form.JSON),
        ("application/pdf", Form.PDF),
        ("Application/PDF; q=0.5", Form.PDF),
        ("text/html", Form.HTML),
        ("text/*", Form.HTML),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Form.HTML),  # a browser
        ("application/json;q=0.5, application/pdf", Form.PDF),
        ("*/*, application/pdf", Form.PDF),
        ("application/pdf;q=0.9, text/html;q=0.9", Form.PDF),
        ("application/json;q=0, */*;q=0.1, text/html;q=0.05", Form.HTML),
        ("image/png, */*;q=0.1", Form.JSON),
        ("application/pdf;q=nonsense, application/json;q=0.1", Form.JSON),
    ],
)
def test_the_accept_header_chooses_the_form(accept: str, form: Form) -> None:
    assert negotiated(accept) is form


@pytest.mark.parametrize(
    "accept", ["image/png", "application/json;q=0", "application/pdf;q=7", "audio/*, text/csv"]
)
def test_what_no_form_satisfies_is_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptableError, match="application/json, application/pdf, text/html"):
        negotiated(accept)


@pytest.mark.parametrize("name", ["a.wav", "raise_input-1.wav"])
def test_the_pdf_holds_the_report(client: TestClient, upload: Upload, name: str) -> None:
    answer = client.get(run_of(client, upload, name, case_id="7"), headers={"Accept": "application/pdf"})

    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"].endswith('.pdf"') and answer.headers["vary"] == "Accept"
    attached = json.loads(pypdf.PdfReader(io.BytesIO(answer.content)).attachments["report.json"][0])
    Draft202012Validator(report_schema()).validate(attached)
    assert attached["evidence"]["filename"] == name
    assert attached["chain_of_custody"]["events"][-1]["details"]["form"] == "application/pdf"


def test_the_page_is_served_with_its_own_policy(client: TestClient, upload: Upload) -> None:
    answer = client.get(run_of(client, upload), headers={"Accept": "text/html"})

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == content_policy()
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.text.startswith("<!DOCTYPE html>") and "a.wav" in answer.text


def test_the_second_look_is_made_on_request_and_always_for_pages(
    make_client: Callable[..., TestClient], upload: Upload, tmp_path: Path
) -> None:
    client = make_client(detector=OnnxSource(write_toy_model(tmp_path)))
    sound = write_audio(tmp_path / "a.wav", speechlike(5.0)).read_bytes()
    path = run_of(client, upload, "spoken.wav", content=sound)

    plain = client.get(path).json()
    full = client.get(path, params={"robustness": True}).json()
    pdf = client.get(path, headers={"Accept": "application/pdf"}).content
    attached = json.loads(pypdf.PdfReader(io.BytesIO(pdf)).attachments["report.json"][0])

    assert plain["robustness"]["panel"] is None and plain["evidence"]["derived"] == []
    panel = full["robustness"]["panel"]
    assert panel["unaltered"]["score"] == pytest.approx(full["result"]["score"], abs=1e-4)
    assert len(panel["trials"]) == 6
    assert full["evidence"]["derived"][0]["sha256"] == attached["evidence"]["derived"][0]["sha256"]
    assert attached["robustness"] == full["robustness"]
    assert plain["findings"]["signals"] == full["findings"]["signals"] and len(plain["findings"]["signals"]) > 10
    assert plain["findings"]["statements"]


def test_after_a_change_of_model_the_panel_is_left_out_with_its_reason(
    make_url: Callable[[str], str], upload: Upload, tmp_path: Path
) -> None:
    sound = write_audio(tmp_path / "a.wav", speechlike(5.0)).read_bytes()
    settings = Settings(database_url=make_url("sqlite"), evidence_dir=tmp_path / "evidence")
    with TestClient(create_app(settings, detector=OnnxSource(write_toy_model(tmp_path)))) as client:
        path = run_of(client, upload, "spoken.wav", content=sound)
    (tmp_path / "new").mkdir()
    newer = OnnxSource(write_toy_model(tmp_path / "new", thresholds_chosen="anew"))
    with TestClient(create_app(settings, detector=newer)) as client:
        report = client.get(path, params={"robustness": True}).json()

    assert report["robustness"]["panel"] is None and "not on the shelf" in report["robustness"]["absent"]
    assert report["evidence"]["derived"]  # the sound is the same, whatever the model


def test_altered_evidence_is_reported_in_every_form_and_not_listened_to(
    make_client: Callable[..., TestClient], upload: Upload, tmp_path: Path
) -> None:
    client = make_client(evidence_dir=tmp_path / "evidence")
    path = run_of(client, upload)
    blob = next(file for file in (tmp_path / "evidence" / "blobs").rglob("*") if file.is_file())
    os.chmod(blob, 0o600)  # noqa: PTH101  as whoever tampers with it would
    blob.write_bytes(b"tampered")

    report = client.get(path, params={"robustness": True}).json()
    answer = client.get(path, headers={"Accept": "application/pdf"})

    assert report["robustness"]["absent"].endswith("(evidence_altered).")
    assert report["evidence"]["derived"] == []
    assert answer.status_code == 200


@pytest.mark.parametrize("policy", ["newsroom", "fraud-desk"])
def test_the_actions_come_from_the_policy_that_the_operator_names(
    make_client: Callable[..., TestClient], upload: Upload, policy: str
) -> None:
    client = make_client(action_policy=policy)

    assert examined(client, upload).json()["method"]["action_policy_version"].startswith(policy)


def test_before_a_run_there_is_no_report(client: TestClient, upload: Upload) -> None:
    answer = client.get(f"/v1/analysis/{upload(client)}/report")
    assert (answer.status_code, answer.json()["code"]) == (409, "analysis_not_done")


def test_a_representation_that_is_not_there_is_406(client: TestClient, upload: Upload) -> None:
    analysis_id = upload(client)
    client.post(f"/v1/analysis/{analysis_id}/run")
    answer = client.get(f"/v1/analysis/{analysis_id}/report", headers={"Accept": "image/png"})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")


def test_the_same_finding_is_reported_with_the_same_words(client: TestClient, upload: Upload) -> None:
    analysis_id = upload(client)
    client.post(f"/v1/analysis/{analysis_id}/run")
    first, second = (client.get(f"/v1/analysis/{analysis_id}/report").json() for _ in range(2))
    for report in (first, second):
        del report["generated_at"], report["chain_of_custody"]["events"]
    assert first == second
