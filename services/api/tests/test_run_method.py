"""Step B5: a report says what its run was made with, whatever is installed, loaded or in force when it is issued."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.analysis import repository as records
from app.analysis.models import Status
from app.database import Database
from app.detectors.source import DetectorDescription, DummySource, OnnxSource
from app.orm import utc_now
from app.reports import service as reports
from app.runs import repository as runs
from app.runs.method import Installation
from app.runs.recording import ended_run
from earwitness.actions import Action, ActionPolicy, ActionRule, load_action_policy
from earwitness.calibration import Calibration
from earwitness.detector import DetectorInput
from earwitness.dummy import DummyDetector
from earwitness.finding import Verdict
from earwitness.report import METHOD_NOT_RECORDED, installed_tools
from tests.toy_model import write_toy_model

OF_THEN = {"earwitness": "0.0.1", "onnxruntime": "0.9", "python": "3.11.0"}
POLICY_OF_THEN = ActionPolicy("1999-1", (ActionRule(frozenset(Verdict), frozenset(), (Action("wait", "Wait."),)),))


def described_then() -> DetectorDescription:
    today = DummySource().describe()
    return replace(today, method=replace(today.method, tools=OF_THEN, canonical_version=7))


def test_a_report_on_an_old_run_names_the_tools_policy_and_actions_of_then(
    database: Database, new_record: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    record = new_record(
        status=Status.RUNNING, run_id=uuid.uuid4(), run_requested_by="ada", verdict=Verdict.SUSPICIOUS
    )
    run = ended_run(
        record,
        DummyDetector().analyze(DetectorInput(tmp_path / "a.wav")),
        started_at=utc_now(),
        evidence_verified=True,
        installation=Installation(described_then(), POLICY_OF_THEN),
    )
    with database.write() as session:
        records.add(session, record)
        runs.add(session, run)
    with database.read() as session:
        stored = runs.get(session, run.id)
        assert stored is not None
        report = reports.report(record, stored, [], policy=load_action_policy(), generated_at=utc_now())
    assert report["method"]["tools"] == OF_THEN != installed_tools()
    assert report["method"]["canonical_version"] == 7
    assert report["method"]["action_policy_version"] == "1999-1"
    assert report["recommended_actions"] == [{"id": "wait", "text": "Wait."}]
    assert METHOD_NOT_RECORDED not in report["limitations"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_after_a_recalibration_a_report_shows_the_calibration_of_its_run(
    make_client: Callable[..., TestClient], make_url: Any, upload: Callable[..., str], tmp_path: Path, kind: str
) -> None:
    place = {"database_url": make_url(kind), "evidence_dir": tmp_path / "store"}
    client = make_client(detector=OnnxSource(write_toy_model(tmp_path)), **place)
    analysis_id = upload(client)
    client.post(f"/v1/analysis/{analysis_id}/run")
    issued = client.get(f"/v1/analysis/{analysis_id}/report").json()["method"]
    client.__exit__(None, None, None)
    steeper = Calibration(slope=3.0, intercept=1.0, llr_min=-2.0, llr_max=2.0)
    client = make_client(detector=OnnxSource(write_toy_model(tmp_path, calibration=steeper)), **place)
    assert (
        client.get("/v1/models").json()["items"][0]["calibration"]["slope"] == 3.0
    )  # the same graph, by its hash
    assert client.get(f"/v1/analysis/{analysis_id}/report").json()["method"] == issued
    assert issued["calibration"] == {
        "kind": "affine",
        "slope": 1.0,
        "intercept": 0.0,
        "llr_min": -6.0,
        "llr_max": 6.0,
    }
    (run,) = client.get(f"/v1/analysis/{analysis_id}/runs").json()["items"]
    assert run["method"]["spec_sha256"] and run["method"]["tools"] == installed_tools()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_run_of_before_the_column_is_reported_as_not_recorded(
    make_client: Callable[..., TestClient],
    make_url: Any,
    new_record: Callable[..., Any],
    new_run: Callable[..., Any],
    tell: Callable[..., None],
    tmp_path: Path,
    kind: str,
) -> None:
    url = make_url(kind)
    database = Database(url)
    record = new_record(status=Status.DONE, model_version="audio-1", processing_ms=5)
    run = new_run(record, model_version="audio-1", model_sha256="b" * 64)
    record.run_id = run.id
    with database.write() as session:
        tell(session, record, run)
    database.close()
    (tmp_path / "store-id").write_text("lost")  # else a service does not start
    client = make_client(database_url=url, evidence_dir=tmp_path)
    report = client.get(f"/v1/analysis/{record.id}/report").json()
    assert METHOD_NOT_RECORDED in report["limitations"]
    assert (report["method"]["model_version"], report["method"]["graph_sha256"]) == ("audio-1", "b" * 64)
    assert report["method"]["tools"] == {} and report["method"]["thresholds"] is None


def test_a_failed_run_records_its_method_too(client: TestClient, upload: Callable[..., str]) -> None:
    analysis_id = upload(client, "raise_input-1.wav")
    client.post(f"/v1/analysis/{analysis_id}/run")
    (run,) = client.get(f"/v1/analysis/{analysis_id}/runs").json()["items"]
    assert run["outcome"] == "FAILED"
    assert run["method"]["tools"] == installed_tools() and run["method"]["action_policy"]["actions"]
