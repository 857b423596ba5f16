"""Step I2: an old run is repeated from the stored bytes with the model of then, and nothing differs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.analysis.models import Status
from app.database import Database
from app.detectors.source import DummySource, OnnxSource
from app.runs.models import RunOutcome
from earwitness.calibration import Calibration
from earwitness.dummy import DummyDetector
from tests.audio_files import write_audio
from tests.speechlike import speechlike
from tests.toy_model import write_toy_model

MakeClient = Callable[..., TestClient]
Upload = Callable[..., str]
STEEP = Calibration(slope=3.0, intercept=0.0, llr_min=-6.0, llr_max=6.0)


def shelve(folder: Path, version: str, **changes: Any) -> Path:
    """The toy model of that version, as the latest and under its name."""
    made = write_toy_model(folder, model_version=version, **changes)
    for suffix in (".onnx", ".json"):
        for name in ("latest", version):
            (folder / f"{name}{suffix}").write_bytes(made.with_suffix(suffix).read_bytes())
        made.with_suffix(suffix).unlink()
    return folder / "latest.onnx"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_after_a_change_of_model_an_old_run_is_repeated_with_no_difference(
    make_client: MakeClient, upload: Upload, tmp_path: Path, kind: str
) -> None:
    sound = write_audio(tmp_path / "a.wav", speechlike(9.0)).read_bytes()
    client = make_client(detector=OnnxSource(shelve(tmp_path, "one")), kind=kind)
    analysis_id = upload(client, content=sound)
    assert client.post(f"/v1/analysis/{analysis_id}/run").json()["p_fake"] is not None
    shelve(tmp_path, "two", calibration=STEEP)
    assert client.post("/v1/models/reload").status_code == 200
    record = client.post(f"/v1/analysis/{analysis_id}/run").json()
    newest, oldest = client.get(f"/v1/analysis/{analysis_id}/runs").json()["items"]
    assert newest["llr"] != oldest["llr"] and newest["windows"] and newest["signals"]

    replay = client.post(f"/v1/analysis/{analysis_id}/replay", params={"run_id": oldest["id"]}).json()

    assert (replay["identical"], replay["differences"], replay["difference_count"]) == (True, [], 0)
    assert (replay["run_id"], replay["model_version"], replay["outcome"]) == (oldest["id"], "one", "DONE")
    assert client.post(f"/v1/analysis/{analysis_id}/replay").json()["run_id"] == newest["id"]
    assert client.get(f"/v1/analysis/{analysis_id}").json() == record, "the record shows what it showed"
    assert len(client.get(f"/v1/analysis/{analysis_id}/runs").json()["items"]) == 2
    kept = client.get(f"/v1/analysis/{analysis_id}/replays").json()["items"]
    assert [item["run_id"] for item in kept] == [newest["id"], oldest["id"]] and kept[1] == replay
    events = client.get(f"/v1/analysis/{analysis_id}/events").json()["items"]
    assert [e["details"]["differences"] for e in events if e["event_type"] == "run_replayed"] == [0, 0]
    assert client.get("/v1/audit/chain").json()["intact"] is True


def test_what_differs_is_told_field_by_field_and_recorded(
    make_client: MakeClient, upload: Upload, make_url: Callable[[str], str], tmp_path: Path
) -> None:
    """A detector that calls itself the same and answers otherwise: what a replay is there to find."""
    place = {"database_url": make_url("sqlite"), "evidence_dir": tmp_path / "store"}
    client = make_client(detector=DummySource(DummyDetector(p_fake=0.9)), **place)
    analysis_id = upload(client)
    client.post(f"/v1/analysis/{analysis_id}/run")
    client.__exit__(None, None, None)
    client = make_client(detector=DummySource(DummyDetector(p_fake=0.2)), **place)
    replay = client.post(f"/v1/analysis/{analysis_id}/replay").json()
    assert replay["identical"] is False and replay["difference_count"] == len(replay["differences"])
    found = {d["field"]: (d["recorded"], d["repeated"]) for d in replay["differences"]}
    assert found["verdict"] == ("DEEPFAKE", "AUTHENTIC") and found["p_fake"] == (0.9, 0.2)
    assert "windows[0].p_fake" in found
    assert client.get(f"/v1/analysis/{analysis_id}").json()["p_fake"] == 0.9


@pytest.mark.parametrize("name", ["raise_input-1.wav", "exit-1.wav"])
def test_a_run_that_failed_fails_again_in_the_same_way(client: TestClient, upload: Upload, name: str) -> None:
    analysis_id = upload(client, name)
    client.post(f"/v1/analysis/{analysis_id}/run")
    replay = client.post(f"/v1/analysis/{analysis_id}/replay").json()
    assert (replay["outcome"], replay["identical"]) == ("FAILED", True)


def test_a_model_that_left_the_shelf_is_409_until_it_is_back(
    make_client: MakeClient, upload: Upload, tmp_path: Path
) -> None:
    client = make_client(detector=OnnxSource(shelve(tmp_path, "one")))
    analysis_id = upload(client)
    client.post(f"/v1/analysis/{analysis_id}/run")
    shelve(tmp_path, "two")
    (tmp_path / "one.onnx").rename(tmp_path / "away")
    client.post("/v1/models/reload")
    answer = client.post(f"/v1/analysis/{analysis_id}/replay")
    assert (answer.status_code, answer.json()["code"]) == (409, "model_not_on_shelf")
    (tmp_path / "away").rename(tmp_path / "one.onnx")
    client.post("/v1/models/reload")
    assert client.post(f"/v1/analysis/{analysis_id}/replay").json()["identical"] is True


def test_what_can_t_be_repeated_is_refused(client: TestClient, upload: Upload) -> None:
    analysis_id, other = upload(client), upload(client)
    answer = client.post(f"/v1/analysis/{analysis_id}/replay")
    assert (answer.status_code, answer.json()["code"]) == (409, "analysis_not_done")
    run_of_other = client.post(f"/v1/analysis/{other}/run").json()["run_id"]
    answer = client.post(f"/v1/analysis/{analysis_id}/replay", params={"run_id": run_of_other})
    assert (answer.status_code, answer.json()["code"]) == (404, "run_not_found")


def test_a_run_without_a_recorded_method_is_409(
    make_client: MakeClient, make_url: Callable[[str], str], new_record: Any, new_run: Any, tell: Any
) -> None:
    url = make_url("sqlite")
    client = make_client(database_url=url)
    record = new_record(status=Status.FAILED, failure_code="interrupted", processing_ms=5)
    run = new_run(record, outcome=RunOutcome.FAILED, failure_code="interrupted")
    record.run_id = run.id
    database = Database(url)
    with database.write() as session:
        tell(session, record, run)
    database.close()
    answer = client.post(f"/v1/analysis/{record.id}/replay")
    assert (answer.status_code, answer.json()["code"]) == (409, "run_not_replayable")


@pytest.mark.parametrize(("deed", "code"), [("remove", "evidence_missing"), ("alter", "evidence_altered")])
def test_evidence_that_is_not_as_it_was_received_is_not_examined(
    make_client: MakeClient, upload: Upload, tmp_path: Path, deed: str, code: str
) -> None:
    client = make_client(evidence_dir=tmp_path / "store")
    analysis_id = upload(client)
    client.post(f"/v1/analysis/{analysis_id}/run")
    (blob,) = (path for path in (tmp_path / "store" / "blobs").rglob("*") if path.is_file())
    blob.chmod(0o600)
    blob.unlink() if deed == "remove" else blob.write_bytes(b"other bytes")
    answer = client.post(f"/v1/analysis/{analysis_id}/replay")
    assert (answer.status_code, answer.json()["code"]) == (500, code)
    assert client.get(f"/v1/analysis/{analysis_id}/replays").json()["items"] == []


def test_erased_evidence_is_410(client: TestClient, upload: Upload) -> None:
    analysis_id = upload(client)
    client.post(f"/v1/analysis/{analysis_id}/run")
    client.delete(f"/v1/analysis/{analysis_id}/evidence", params={"reason": "a request for erasure"})
    answer = client.post(f"/v1/analysis/{analysis_id}/replay")
    assert (answer.status_code, answer.json()["code"]) == (410, "evidence_erased")


def test_replays_are_append_only(
    database: Database, make_client: MakeClient, upload: Upload, tmp_path: Path
) -> None:
    client = make_client(database_url=database.url.render_as_string(hide_password=False))
    analysis_id = upload(client)
    client.post(f"/v1/analysis/{analysis_id}/run")
    client.post(f"/v1/analysis/{analysis_id}/replay")
    for deed in ("UPDATE run_replays SET difference_count = 0", "DELETE FROM run_replays"):
        with pytest.raises(DBAPIError, match="append-only"), database.write() as session:
            session.execute(text(deed))
