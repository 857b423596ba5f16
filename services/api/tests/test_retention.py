"""Operations: evidence is erased on request and after its time, never else; the record and its hash stay."""

import hashlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.orm import utc_now
from app.retention import service
from app.retention.verification import verify
from app.state import ServiceState

MakeClient = Callable[..., TestClient]
Upload = Callable[..., str]
KINDS = ["sqlite", "postgresql"]
REASON = "order of the court"


@pytest.fixture(params=KINDS)
def own(request: pytest.FixtureRequest, make_client: MakeClient, tmp_path: Path) -> TestClient:
    return make_client(kind=request.param, evidence_dir=tmp_path / "store")


def state_of(client: TestClient) -> ServiceState:
    state = client.app.state.service  # type: ignore[attr-defined]
    assert isinstance(state, ServiceState)
    return state


def blobs(folder: Path) -> list[Path]:
    return [path for path in (folder / "store").rglob("*") if len(path.name.split(".")[0]) == 64]


def erase(client: TestClient, analysis_id: str, reason: str = REASON) -> Any:
    return client.delete(f"/v1/analysis/{analysis_id}/evidence", params={"reason": reason})


def hold(client: TestClient, analysis_id: str, held: bool = True) -> Any:
    return client.put(f"/v1/analysis/{analysis_id}/hold", json={"held": held, "reason": "appeal"})


def test_an_erasure_removes_the_bytes_and_keeps_the_record_with_its_hash(
    own: TestClient, upload: Upload, wav: bytes, tmp_path: Path
) -> None:
    analysis_id = upload(own)
    own.post(f"/v1/analysis/{analysis_id}/run")
    answer = erase(own, analysis_id)
    assert answer.status_code == 200, answer.text
    record = answer.json()
    assert (record["erased_by"], record["erasure_reason"]) == ("developer", REASON)
    assert record["removed_at"] >= record["erased_at"]
    assert (record["sha256"], record["status"]) == (hashlib.sha256(wav).hexdigest(), "DONE")
    assert blobs(tmp_path) == []
    event = own.get(f"/v1/analysis/{analysis_id}/events").json()["items"][-1]
    assert (event["event_type"], event["details"]) == (
        "evidence_erased",
        {"sha256": record["sha256"], "reason": REASON},
    )
    assert own.get("/v1/audit/chain").json()["intact"]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "run"), ("GET", "evidence"), ("DELETE", "evidence?reason=x12")]
)
def test_what_needs_erased_evidence_is_410(own: TestClient, upload: Upload, method: str, path: str) -> None:
    analysis_id = upload(own)
    erase(own, analysis_id)
    answer = own.request(method, f"/v1/analysis/{analysis_id}/{path}")
    assert (answer.status_code, answer.json()["code"]) == (410, "evidence_erased")
    assert REASON in answer.json()["detail"]
    assert own.get(f"/v1/analysis/{analysis_id}").json()["status"] == "UPLOADED"


def test_reports_stay_and_show_nothing_of_the_sound_any_more(own: TestClient, upload: Upload) -> None:
    analysis_id = upload(own)
    own.post(f"/v1/analysis/{analysis_id}/run")
    path = f"/v1/analysis/{analysis_id}/report?robustness=true"
    assert own.get(path).json()["evidence"]["derived"]
    erase(own, analysis_id)
    report = own.get(path).json()
    assert report["evidence"]["derived"] == []
    assert "erased" in str(report)
    assert "evidence_erased" in [event["event"] for event in report["chain_of_custody"]["events"]]


def test_bytes_that_another_analysis_holds_stay_until_its_erasure(
    own: TestClient, upload: Upload, tmp_path: Path
) -> None:
    first, second = upload(own), upload(own)
    assert erase(own, first).json()["removed_at"] is None
    assert len(blobs(tmp_path)) == 1
    assert own.post(f"/v1/analysis/{second}/run").status_code == 200
    erase(own, second)
    assert blobs(tmp_path) == []
    assert own.get(f"/v1/analysis/{first}").json()["removed_at"] is not None


def test_erased_bytes_can_be_received_again(own: TestClient, upload: Upload, tmp_path: Path) -> None:
    erase(own, upload(own))
    assert own.post(f"/v1/analysis/{upload(own)}/run").status_code == 200
    assert len(blobs(tmp_path)) == 1


def test_a_hold_keeps_evidence_from_erasure_until_it_is_released(own: TestClient, upload: Upload) -> None:
    analysis_id = upload(own)
    record = hold(own, analysis_id).json()
    assert (record["held_by"], record["hold_reason"]) == ("developer", "appeal")
    answer = erase(own, analysis_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "evidence_held")
    assert hold(own, analysis_id, held=False).json()["held_at"] is None
    assert erase(own, analysis_id).status_code == 200
    assert hold(own, analysis_id).status_code == 410
    events = [event["event_type"] for event in own.get(f"/v1/analysis/{analysis_id}/events").json()["items"]]
    assert events[1:] == ["hold_placed", "hold_released", "evidence_erased"]


def test_evidence_of_a_run_under_way_is_not_erased(own: TestClient, upload: Upload) -> None:
    analysis_id = upload(own, "hang-1.wav")
    own.post(f"/v1/analysis/{analysis_id}/run", headers={"Prefer": "respond-async"})
    answer = erase(own, analysis_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "run_under_way")


@pytest.mark.parametrize("query", ["", "?reason=", "?reason=ab", "?reason=" + "x" * 513, "?reason=a%0Abc"])
def test_an_erasure_needs_a_reason(client: TestClient, upload: Upload, query: str) -> None:
    analysis_id = upload(client)
    assert client.delete(f"/v1/analysis/{analysis_id}/evidence{query}").status_code == 422
    assert client.get(f"/v1/analysis/{analysis_id}").json()["erased_at"] is None


def test_the_retention_period_erases_what_is_older_and_neither_held_nor_under_way(
    own: TestClient, upload: Upload, wav: bytes
) -> None:
    old, held, young = (upload(own, content=wav + bytes([n])) for n in range(3))
    hold(own, held)
    state = state_of(own)
    with state.database.write() as session:
        session.execute(
            text("UPDATE analysis_records SET created_at = :then WHERE id != :id"),
            {"then": "2026-01-01 00:00:00+00", "id": uuid.UUID(young).hex if state.database.is_sqlite else young},
        )
    swept = service.sweep(state.database, state.store, timedelta(days=90), utc_now())
    assert (swept.erased, swept.removed) == (1, 1)
    records = {name: own.get(f"/v1/analysis/{name}").json() for name in (old, held, young)}
    assert [record["erased_by"] for record in records.values()] == ["system:retention", None, None]
    assert records[old]["erasure_reason"] == "kept for 90 days, as EARWITNESS_EVIDENCE_RETENTION says"


def test_without_a_retention_period_nothing_is_erased(own: TestClient, upload: Upload, tmp_path: Path) -> None:
    upload(own)
    state = state_of(own)
    service.sweep(state.database, state.store, None, utc_now() + timedelta(days=36_500))
    assert len(blobs(tmp_path)) == 1


def test_the_service_sweeps_by_itself(
    make_client: MakeClient, upload: Upload, wait_until: Callable[..., None]
) -> None:
    client = make_client(evidence_retention=timedelta(seconds=0.1), sweep_interval=timedelta(seconds=0.1))
    analysis_id = upload(client)
    wait_until(lambda: client.get(f"/v1/analysis/{analysis_id}").json()["removed_at"] is not None)


def test_bytes_that_a_crash_or_a_broken_store_left_are_removed_by_the_next_start(
    make_client: MakeClient, make_url: Any, upload: Upload, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    place = {"database_url": make_url("sqlite"), "evidence_dir": tmp_path / "store"}
    client = make_client(**place)
    analysis_id = upload(client)
    with state_of(client).database.write() as session:  # as far as a process that dies then comes
        service.erase(session, "ada", uuid.UUID(analysis_id), REASON)
    client.__exit__(None, None, None)
    again = make_client(**place)
    wait_until(lambda: again.get(f"/v1/analysis/{analysis_id}").json()["removed_at"] is not None)
    assert blobs(tmp_path) == []  # nor set aside as unreferenced


def test_a_store_that_can_t_remove_is_asked_again(
    own: TestClient, upload: Upload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis_id = upload(own)
    state = state_of(own)

    def broken(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError("read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", broken)
        assert erase(own, analysis_id).json()["removed_at"] is None
        assert service.sweep(state.database, state.store, None, utc_now()).failed == 1
    assert len(blobs(tmp_path)) == 1
    assert service.sweep(state.database, state.store, None, utc_now()).removed == 1
    assert blobs(tmp_path) == []


def test_a_restored_store_is_checked_against_the_records(
    own: TestClient, upload: Upload, wav: bytes, tmp_path: Path
) -> None:
    _kept, altered, missing, erased = (upload(own, content=wav + bytes([n])) for n in range(4))
    paths = {
        name: next(p for p in blobs(tmp_path) if p.name == sha256_of(own, name)) for name in (altered, missing)
    }
    paths[altered].chmod(0o644)
    paths[altered].write_bytes(b"x")
    paths[missing].unlink()
    erase(own, erased)
    state = state_of(own)
    found = verify(state.database, state.store)
    assert (found.verified, found.altered, found.missing, found.erased_but_there) == (1, 1, 1, 0)
    assert found.audit_intact and not found.in_order
    back = tmp_path / "store" / "blobs" / sha256_of(own, erased)[:2] / sha256_of(own, erased)[2:4]
    back.mkdir(parents=True, exist_ok=True)
    (back / sha256_of(own, erased)).write_bytes(wav + bytes([3]))  # by a backup of the day before
    assert verify(state.database, state.store).erased_but_there == 1
    service.sweep(state.database, state.store, None, utc_now(), finished_too=True)
    assert verify(state.database, state.store).erased_but_there == 0


def sha256_of(client: TestClient, analysis_id: str) -> str:
    sha256: str = client.get(f"/v1/analysis/{analysis_id}").json()["sha256"]
    return sha256


def test_the_commands_work_beside_the_service(service_process: Any, wav: bytes) -> None:
    service_process.start()
    with service_process.client() as client:
        analysis_id = client.post("/v1/analysis/upload", files={"file": ("a.wav", wav)}).json()["analysis_id"]
        assert command(service_process, "verify") == (0, {**IN_ORDER, "verified": 1, "audit_events": 1})
        erasing = {"EARWITNESS_EVIDENCE_RETENTION": "0.001"}
        assert command(service_process, "retention", **erasing) == (0, {"erased": 1, "removed": 1, "failed": 0})
        assert client.get(f"/v1/analysis/{analysis_id}").json()["erased_by"] == "system:retention"
        evidence = service_process.folder / "evidence" / "blobs"
        assert [path for path in evidence.rglob("*") if path.is_file()] == []
        assert command(service_process, "verify") == (0, {**IN_ORDER, "audit_events": 2})


IN_ORDER = {
    "verified": 0,
    "missing": 0,
    "altered": 0,
    "erased_but_there": 0,
    "audit_events": 0,
    "audit_intact": True,
    "records_altered": 0,
    "runs_altered": 0,
    "bound_in_part": 0,
}


def command(service_process: Any, name: str, **environment: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "app", name],
        cwd=service_process.folder,
        env={**os.environ, **service_process.environment, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    told.pop("last_hash", None)
    return done.returncode, told
