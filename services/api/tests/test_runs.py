"""Step B4: the detector behind its interface, run in a process that can be killed."""

import hashlib
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator

from app.detectors.source import DummySource
from earwitness.dummy import DummyDetector
from earwitness.finding import Abstention
from earwitness.reporting.contents import report_schema

Upload = Callable[..., str]
MakeClient = Callable[..., TestClient]


def wait_for_end(client: TestClient, analysis_id: str) -> dict[str, Any]:
    for _ in range(600):
        record: dict[str, Any] = client.get(f"/v1/analysis/{analysis_id}").json()
        if record["status"] not in ("QUEUED", "RUNNING"):
            return record
        time.sleep(0.05)
    raise AssertionError("the run does not end")


@pytest.mark.parametrize(("p_fake", "verdict"), [(0.95, "DEEPFAKE"), (0.5, "SUSPICIOUS"), (0.05, "AUTHENTIC")])
def test_run_updates_the_record_with_what_the_injected_detector_says(
    make_client: MakeClient, upload: Upload, p_fake: float, verdict: str
) -> None:
    client = make_client(detector=DummySource(DummyDetector(p_fake=p_fake)))
    analysis_id = upload(client)
    answer = client.post(f"/v1/analysis/{analysis_id}/run")
    assert answer.status_code == 200
    record = answer.json()
    assert record == client.get(f"/v1/analysis/{analysis_id}").json()
    assert (record["status"], record["verdict"], record["p_fake"]) == ("DONE", verdict, p_fake)
    assert record["confidence"] == max(p_fake, 1 - p_fake)
    assert record["explanations"] and record["signals"] == {"duration_s": 4.0}
    assert record["model_version"] == "dummy-1"
    assert record["processing_ms"] >= 0


def test_an_abstention_is_suspicious_with_its_reasons(make_client: MakeClient, upload: Upload) -> None:
    client = make_client(detector=DummySource(DummyDetector(abstentions=(Abstention.NO_SPEECH,))))
    record = client.post(f"/v1/analysis/{upload(client)}/run").json()
    assert (record["verdict"], record["confidence"], record["p_fake"]) == ("SUSPICIOUS", 0.0, None)
    assert record["abstentions"] == ["no_speech"]


def test_each_run_is_appended_and_the_record_shows_the_newest(client: TestClient, upload: Upload) -> None:
    analysis_id = upload(client)
    first = client.post(f"/v1/analysis/{analysis_id}/run").json()
    second = client.post(f"/v1/analysis/{analysis_id}/run").json()
    runs = client.get(f"/v1/analysis/{analysis_id}/runs").json()["items"]
    assert [run["id"] for run in runs] == [second["run_id"], first["run_id"]]
    assert runs[0]["windows"] and runs[0]["evidence_verified"] is True


@pytest.mark.parametrize("call", ["POST run", "GET runs", "GET report", "GET events", "GET evidence", "GET "])
def test_an_unknown_id_is_404(client: TestClient, call: str) -> None:
    method, what = call.split(" ")
    answer = client.request(method, f"/v1/analysis/{uuid.uuid4()}/{what}".rstrip("/"))
    assert (answer.status_code, answer.json()["code"]) == (404, "analysis_not_found")


def test_a_malformed_id_is_404(client: TestClient) -> None:
    answer = client.post("/v1/analysis/not-a-uuid/run")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_timeout_kills_the_worker_sets_a_failure_state_and_harms_nothing_else(
    make_client: MakeClient, upload: Upload
) -> None:
    client = make_client(run_timeout=timedelta(seconds=0.5))
    slow = upload(client, "hang-1.wav")
    answer = client.post(f"/v1/analysis/{slow}/run")
    assert (answer.status_code, answer.json()["code"]) == (504, "run_timeout")
    assert answer.json()["analysis_id"] == slow
    record = client.get(f"/v1/analysis/{slow}").json()
    assert (record["status"], record["failure_code"]) == ("FAILED", "run_timeout")
    assert (record["verdict"], record["confidence"]) == ("SUSPICIOUS", 0.0)
    assert client.post(f"/v1/analysis/{upload(client)}/run").status_code == 200


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        ("raise_input", 422, "media_unreadable"),
        ("raise_bug", 500, "detector_bug"),
        ("exit", 500, "worker_crash"),
        ("crash", 500, "worker_crash"),
    ],
)
def test_a_run_that_fails_costs_one_run_and_says_why(
    client: TestClient, upload: Upload, behaviour: str, status: int, code: str
) -> None:
    analysis_id = upload(client, f"{behaviour}-1.wav")
    answer = client.post(f"/v1/analysis/{analysis_id}/run")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    record = client.get(f"/v1/analysis/{analysis_id}").json()
    assert (record["status"], record["failure_code"]) == ("FAILED", code)
    (run,) = client.get(f"/v1/analysis/{analysis_id}/runs").json()["items"]
    assert (run["outcome"], run["failure_code"], run["id"]) == ("FAILED", code, record["run_id"])
    assert client.post(f"/v1/analysis/{upload(client)}/run").status_code == 200


def test_a_run_that_exhausts_its_memory_costs_one_run(make_client: MakeClient, upload: Upload) -> None:
    client = make_client(worker_memory_bytes=1 << 30)
    answer = client.post(f"/v1/analysis/{upload(client, 'exhaust_memory-1.wav')}/run")
    assert (answer.status_code, answer.json()["code"]) == (500, "worker_crash")
    assert "memory" in answer.json()["detail"]
    assert client.post(f"/v1/analysis/{upload(client)}/run").status_code == 200


def test_a_good_run_after_a_failed_one_clears_the_failure(
    make_client: MakeClient, upload: Upload, tmp_path: Path
) -> None:
    client = make_client(evidence_dir=tmp_path / "store")
    analysis_id = upload(client)
    (blob,) = [path for path in (tmp_path / "store" / "blobs").rglob("*") if path.is_file()]
    away = blob.rename(tmp_path / "away")
    answer = client.post(f"/v1/analysis/{analysis_id}/run")
    assert (answer.status_code, answer.json()["code"]) == (500, "evidence_missing")
    away.rename(blob)
    record = client.post(f"/v1/analysis/{analysis_id}/run").json()
    assert (record["status"], record["failure_code"], record["failure_message"]) == ("DONE", None, None)


def test_altered_evidence_is_not_examined(make_client: MakeClient, upload: Upload, tmp_path: Path) -> None:
    client = make_client(evidence_dir=tmp_path / "store")
    analysis_id = upload(client)
    (blob,) = [path for path in (tmp_path / "store" / "blobs").rglob("*") if path.is_file()]
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"\x01")
    answer = client.post(f"/v1/analysis/{analysis_id}/run")
    assert (answer.status_code, answer.json()["code"]) == (500, "evidence_altered")
    (run,) = client.get(f"/v1/analysis/{analysis_id}/runs").json()["items"]
    altered = hashlib.sha256(blob.read_bytes()).hexdigest()
    assert (run["evidence_verified"], run["evidence_sha256"]) == (False, altered)
    report = client.get(f"/v1/analysis/{analysis_id}/report").json()
    Draft202012Validator(report_schema()).validate(report)
    evidence = report["evidence"]
    assert (evidence["integrity"], evidence["sha256_at_analysis"]) == ("mismatch", altered)
    assert evidence["sha256_at_receipt"] == client.get(f"/v1/analysis/{analysis_id}").json()["sha256"] != altered


def test_a_second_run_at_the_same_time_is_409(make_client: MakeClient, upload: Upload) -> None:
    client = make_client(detector=DummySource(DummyDetector(delay_s=1.0)))
    analysis_id = upload(client)
    first = client.post(f"/v1/analysis/{analysis_id}/run", headers={"Prefer": "respond-async"})
    second = client.post(f"/v1/analysis/{analysis_id}/run")
    assert first.status_code == 202
    assert (second.status_code, second.json()["code"]) == (409, "run_under_way")
    assert wait_for_end(client, analysis_id)["status"] == "DONE"


def test_of_parallel_runs_one_is_accepted_and_one_row_written(make_client: MakeClient, upload: Upload) -> None:
    client = make_client(detector=DummySource(DummyDetector(delay_s=0.5)))
    analysis_id = upload(client)
    start = threading.Barrier(5)

    def run(_number: int) -> int:
        start.wait()
        status: int = client.post(f"/v1/analysis/{analysis_id}/run").status_code
        return status

    with ThreadPoolExecutor(5) as threads:
        assert sorted(threads.map(run, range(5))) == [200, 409, 409, 409, 409]
    assert len(client.get(f"/v1/analysis/{analysis_id}/runs").json()["items"]) == 1


@pytest.mark.parametrize("prefer", ["respond-async", "wait=5, Respond-Async;x=1"])
def test_respond_async_is_202_with_a_location_to_poll(client: TestClient, upload: Upload, prefer: str) -> None:
    analysis_id = upload(client)
    answer = client.post(f"/v1/analysis/{analysis_id}/run", headers={"Prefer": prefer})
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/analysis/{analysis_id}"
    assert answer.headers["preference-applied"] == "respond-async"
    assert answer.json()["status"] in ("QUEUED", "RUNNING", "DONE")
    assert wait_for_end(client, analysis_id)["status"] == "DONE"


def test_runs_beyond_the_queues_room_are_503_with_retry_after(make_client: MakeClient, upload: Upload) -> None:
    client = make_client(detector=DummySource(DummyDetector(delay_s=5.0)), max_queued_runs=1)
    first, second = upload(client), upload(client)
    client.post(f"/v1/analysis/{first}/run", headers={"Prefer": "respond-async"})
    answer = client.post(f"/v1/analysis/{second}/run")
    assert (answer.status_code, answer.json()["code"]) == (503, "queue_full")
    assert int(answer.headers["retry-after"]) > 0
    assert client.get(f"/v1/analysis/{second}").json()["status"] == "UPLOADED"


def test_a_stopped_service_interrupts_what_exceeds_its_grace(
    make_client: MakeClient, make_url: Any, upload: Upload, wait_until: Callable[..., None], tmp_path: Path
) -> None:
    same: dict[str, Any] = {"database_url": make_url("sqlite"), "evidence_dir": tmp_path / "store"}
    client = make_client(shutdown_grace=timedelta(seconds=0.2), **same)
    running, waiting = upload(client, "hang-1.wav"), upload(client)
    for analysis_id in (running, waiting):
        client.post(f"/v1/analysis/{analysis_id}/run", headers={"Prefer": "respond-async"})
    wait_until(lambda: client.get(f"/v1/analysis/{running}").json()["status"] == "RUNNING")
    client.__exit__(None, None, None)
    again = make_client(**same)
    record = again.get(f"/v1/analysis/{running}").json()
    assert (record["status"], record["failure_code"]) == ("FAILED", "interrupted")
    assert wait_for_end(again, waiting)["status"] == "DONE"
