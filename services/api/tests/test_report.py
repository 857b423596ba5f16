"""Step B5: the report keeps its published schema and its shape, and says what a forensic report must."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator

from app.detectors.source import DummySource
from earwitness.dummy import DummyDetector
from earwitness.report import report_schema

Upload = Callable[..., str]
SNAPSHOTS = Path(__file__).with_name("snapshots")
VOLATILE = {"analysis_id", "generated_at", "created_at", "analysed_at", "at", "run_id", "tools"}
"""What differs from one report on the same evidence to the next: ids, times, installed versions."""


def examined(client: TestClient, upload: Upload, name: str = "a.wav", **fields: str) -> Any:
    analysis_id = upload(client, name, **fields)
    client.post(f"/v1/analysis/{analysis_id}/run")
    return client.get(f"/v1/analysis/{analysis_id}/report")


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
    assert report["report_version"] == 1
    assert report["evidence"]["integrity"] == "verified"
    assert report["evidence"]["size_bytes"] == len(wav)
    assert report["result"]["verdict"] == "SUSPICIOUS" and report["result"]["confidence"] == 0.5
    assert report["key_findings"] and report["recommended_actions"]
    custody = report["chain_of_custody"]
    assert custody["created_at"] and custody["device_id"] == "pixel" and custody["case_id"] is None
    assert [event["event"] for event in custody["events"]] == [
        "evidence_received", "run_requested", "run_done", "report_issued",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["deepfake", "failed"])
def test_snapshot_the_shape_of_the_report_is_stable(
    make_client: Callable[..., TestClient], upload: Upload, name: str
) -> None:
    """After a change that is meant: raise report_version if readers break, delete the file and run this test."""
    client = make_client(detector=DummySource(DummyDetector(p_fake=0.9), by_filename=True))
    file = "raise_input-1.wav" if name == "failed" else "a.wav"
    report = steadied(examined(client, upload, file, case_id="2026-1").json())
    path = SNAPSHOTS / f"report-{name}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
        pytest.fail(f"{path.name} was missing and has been written: look at it and commit it")
    assert report == json.loads(path.read_text())


def test_a_report_of_version_1_as_it_was_issued_stays_valid() -> None:
    """A report as someone has it in a file: today's schema for version 1 must still take it. No test writes it."""
    issued = json.loads((SNAPSHOTS / "issued-v1.json").read_text())
    assert issued["report_version"] == 1
    Draft202012Validator(report_schema()).validate(issued)


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
