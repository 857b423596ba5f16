"""Step I2: a shelf of models; runs by a named version; another model without a restart and without a dropped run."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.application import create_app
from app.detectors.registry import ModelRegistry
from app.detectors.source import DummySource, OnnxSource
from app.runs import worker
from app.settings import Settings
from earwitness.calibration import Calibration
from earwitness.dummy import DummyDetector
from tests.toy_model import write_toy_model

MakeClient = Callable[..., TestClient]
Upload = Callable[..., str]

STEEP = Calibration(slope=3.0, intercept=0.0, llr_min=-6.0, llr_max=6.0)


def put(folder: Path, name: str, version: str, **changes: Any) -> Path:
    """A toy model of that version as `name`.onnx on the shelf `folder`."""
    folder.mkdir(exist_ok=True)
    made = write_toy_model(folder, model_version=version, **changes)
    for suffix in (".onnx", ".json"):
        made.with_suffix(suffix).replace(folder / f"{name}{suffix}")
    return folder / f"{name}.onnx"


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """`new` is the latest; `old` stands beside it, and so does a copy of `new` under its own name."""
    folder = tmp_path / "shelf"
    put(folder, "old", "old")
    put(folder, "new", "new", calibration=STEEP)
    return put(folder, "latest", "new", calibration=STEEP)


def test_all_models_are_listed_with_hashes_calibration_and_validation(
    make_client: MakeClient, shelf: Path
) -> None:
    put(shelf.parent, "measured", "measured", evaluation={"eer": 0.1, "outcome": "all goals met"})
    (shelf.parent / "torn.onnx").write_bytes(b"half a graph")
    put(shelf.parent, "pretender", "old", calibration=STEEP)
    listed = make_client(detector=OnnxSource(shelf)).get("/v1/models").json()
    assert [(m["model_version"], m["active"]) for m in listed["items"]] == [
        ("new", True), ("measured", False), ("old", False),
    ]  # fmt: skip
    new, measured, old = listed["items"]
    assert new["calibration"]["slope"] == 3.0 and old["calibration"]["slope"] == 1.0
    assert new["sha256"] == old["sha256"] and new["spec_sha256"] != old["spec_sha256"]
    assert measured["evaluation"]["eer"] == 0.1
    assert {u["file"]: u["code"] for u in listed["unusable"]} == {
        "pretender.onnx": "model_mismatch", "torn.onnx": "model_not_found",
    }  # fmt: skip
    assert str(shelf.parent) not in str(listed)


def test_a_service_whose_first_load_failed_is_ready_after_a_reload(
    tmp_path: Path, make_url: Callable[[str], str], upload: Upload, wait_until: Callable[..., None]
) -> None:
    graph = put(tmp_path / "shelf", "latest", "new")
    settings = Settings(database_url=make_url("sqlite"), evidence_dir=tmp_path / "evidence")
    app = create_app(settings, detector=OnnxSource(graph))
    away = graph.rename(graph.with_suffix(".away"))  # between the look at the shelf and the first worker's loading
    with TestClient(app) as client:

        def model() -> str:
            told: str = client.get("/ready").json()["checks"]["model"]
            return told

        wait_until(lambda: model() != "loading")
        assert (model(), client.get("/ready").status_code) == ("could not be loaded", 503)
        away.rename(graph)
        assert client.post("/v1/models/reload").status_code == 200
        assert (model(), client.get("/ready").status_code) == ("ok", 200)
        assert client.post(f"/v1/analysis/{upload(client)}/run").status_code == 200


def test_a_run_can_name_its_model_and_keeps_that_one_s_method(
    make_client: MakeClient, upload: Upload, shelf: Path
) -> None:
    client = make_client(detector=OnnxSource(shelf))
    analysis_id = upload(client)
    for version in ("old", "new"):
        answer = client.post(f"/v1/analysis/{analysis_id}/run", params={"model_version": version})
        assert answer.json()["model_version"] == version
    newer, older = client.get(f"/v1/analysis/{analysis_id}/runs").json()["items"]
    assert (newer["model_version"], newer["method"]["calibration"]["slope"]) == ("new", 3.0)
    assert (older["model_version"], older["method"]["calibration"]["slope"]) == ("old", 1.0)
    events = client.get(f"/v1/analysis/{analysis_id}/events").json()["items"]
    named = [e["details"].get("model_version") for e in events if e["event_type"] == "run_requested"]
    assert named == ["old", "new"]


@pytest.mark.parametrize("version", ["newest", "../latest"])
def test_an_unknown_version_is_422_and_nothing_is_queued(client: TestClient, upload: Upload, version: str) -> None:
    analysis_id = upload(client)
    answer = client.post(f"/v1/analysis/{analysis_id}/run", params={"model_version": version})
    assert (answer.status_code, answer.json()["code"]) == (422, "model_unknown")
    assert client.get(f"/v1/analysis/{analysis_id}").json()["status"] == "UPLOADED"


def test_a_reload_makes_the_next_run_with_the_new_model(
    make_client: MakeClient, upload: Upload, tmp_path: Path
) -> None:
    shelf = put(tmp_path / "shelf", "latest", "one")
    client = make_client(detector=OnnxSource(shelf))
    run = f"/v1/analysis/{upload(client)}/run"
    assert client.post(run).json()["model_version"] == "one"
    put(shelf.parent, "latest", "two")
    assert client.post(run).json()["model_version"] == "one", "until it is told, the service keeps its model"
    listed = client.post("/v1/models/reload").json()["items"]
    assert [m["model_version"] for m in listed if m["active"]] == ["two"]
    assert client.post(run).json()["model_version"] == "two"
    assert client.get("/v1/audit/chain").json()["intact"] is True


def spoilt_graph(shelf: Path) -> None:
    shelf.write_bytes(b"no graph")


def spec_of_another_graph(shelf: Path) -> None:
    put(shelf.parent, "latest", "two", outputs={"score": ["batch"]})


def nothing_there(shelf: Path) -> None:
    shelf.unlink()


@pytest.mark.parametrize("spoil", [spoilt_graph, spec_of_another_graph, nothing_there])
def test_a_bad_new_model_is_refused_and_the_old_one_goes_on(
    make_client: MakeClient, upload: Upload, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    shelf = put(tmp_path / "shelf", "latest", "one")
    client = make_client(detector=OnnxSource(shelf))
    run = f"/v1/analysis/{upload(client)}/run"
    assert client.post(run).status_code == 200
    spoil(shelf)
    answer = client.post("/v1/models/reload")
    assert (answer.status_code, answer.json()["code"]) == (409, "model_refused")
    assert "goes on with one" in answer.json()["detail"] and str(tmp_path) not in answer.text
    assert client.post(run).json()["model_version"] == "one"


def test_a_run_under_way_ends_with_the_model_that_it_began_with(
    make_client: MakeClient, upload: Upload, wait_until: Callable[..., None]
) -> None:
    slow = DummySource(DummyDetector(delay_s=1.5, model_version="slow-1"))
    client = make_client(detector=slow)
    first, second = upload(client), upload(client)
    waiting = client.post(f"/v1/analysis/{first}/run", headers={"Prefer": "respond-async"})
    assert waiting.status_code == 202
    wait_until(lambda: client.get(f"/v1/analysis/{first}").json()["status"] == "RUNNING")
    registry: ModelRegistry = client.app.state.service.models  # type: ignore[attr-defined]
    registry.source = DummySource(DummyDetector(model_version="quick-2"))
    assert client.post("/v1/models/reload").status_code == 200
    assert client.post(f"/v1/analysis/{second}/run").json()["model_version"] == "quick-2"
    wait_until(lambda: client.get(f"/v1/analysis/{first}").json()["status"] == "DONE")
    assert client.get(f"/v1/analysis/{first}").json()["model_version"] == "slow-1"


def test_after_a_promotion_a_new_worker_finds_its_model_under_its_own_name(tmp_path: Path) -> None:
    shelf = put(tmp_path / "shelf", "latest", "one")
    model = ModelRegistry(OnnxSource(shelf)).active
    put(shelf.parent, "one", "one")
    put(shelf.parent, "latest", "two")
    assert worker._load(model.order).model_version == "one"


def test_a_worker_keeps_a_few_models_and_drops_the_longest_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_loaded", type(worker._loaded)())
    sources = [DummySource(DummyDetector(model_version=str(n))) for n in range(worker.LOADED_AT_ONCE + 1)]
    orders = [ModelRegistry(source).active.order for source in sources]
    for order in (*orders[:-1], orders[0], orders[-1]):
        worker.ready(order)
    assert [d.model_version for d in worker._loaded.values()] == ["2", "0", "3"]


def test_sighup_swaps_the_model_of_a_service_under_load_without_dropping_a_request(
    tmp_path: Path, make_service: Callable[..., Any], wav: bytes, wait_until: Callable[..., None]
) -> None:
    shelf = put(tmp_path / "shelf", "latest", "one")
    service = make_service(tmp_path, EARWITNESS_MODEL=str(shelf), SERVE_THE_REAL_ONE="1").start()
    versions: list[tuple[int, str]] = []
    with service.client() as client:
        done = threading.Event()
        uploaded = client.post("/v1/analysis/upload", files={"file": ("a.wav", wav)}).json()["analysis_id"]

        def load() -> None:
            while not done.is_set():
                answer = client.post(f"/v1/analysis/{uploaded}/run")
                versions.append((answer.status_code, answer.json()["model_version"]))

        thread = threading.Thread(target=load)
        thread.start()
        wait_until(lambda: len(versions) >= 3)
        put(shelf.parent, "latest", "two")
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: versions[-1][1] == "two")
        done.set()
        thread.join()
        assert service.stop() in (0, -signal.SIGTERM)
        assert {status for status, _ in versions} == {200}
        restarted = service.start().client()
        assert restarted.get("/v1/models").json()["items"][0]["model_version"] == "two"
        restarted.close()
    order = [version for _, version in versions]
    assert order == sorted(order), "never back to the old one"


def test_a_model_that_does_not_match_stops_the_start_with_advice(tmp_path: Path) -> None:
    shelf = put(tmp_path / "shelf", "latest", "one")
    shelf.write_bytes(b"another graph")
    done = subprocess.run(
        [sys.executable, "-m", "app"],
        cwd=tmp_path,
        env={**os.environ, "EARWITNESS_MODEL": str(shelf)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "copy graph and spec of one version together" in done.stderr and "Traceback" not in done.stderr
