"""Step B4: the real detector behind the same interface: a real graph in ONNX Runtime, in a worker process."""

import io
import multiprocessing
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.detectors.source import OnnxSource
from earwitness.calibration import Calibration
from earwitness.waveform import SAMPLE_RATE_HZ
from tests.speechlike import speechlike
from tests.toy_model import write_toy_model


@pytest.fixture(scope="module")
def speech() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE_HZ)
        writer.writeframes((speechlike(6.0) * 32_000).astype(np.int16).tobytes())
    return file.getvalue()


def test_an_onnx_model_examines_an_upload_and_the_report_names_its_method(
    make_client: Callable[..., TestClient], upload: Callable[..., str], speech: bytes, tmp_path: Path
) -> None:
    source = OnnxSource(write_toy_model(tmp_path))
    client = make_client(detector=source)
    analysis_id = upload(client, content=speech)
    answer = client.post(f"/v1/analysis/{analysis_id}/run")
    assert answer.status_code == 200, answer.text
    record = answer.json()
    assert (record["status"], record["model_version"]) == ("DONE", "toy-1")
    assert 0.0 <= record["p_fake"] <= 1.0 or record["abstentions"]
    assert record["duration_s"] == pytest.approx(6.0, abs=0.01)
    report: dict[str, Any] = client.get(f"/v1/analysis/{analysis_id}/report").json()
    assert report["method"]["graph_sha256"] == source.describe().model_sha256
    assert report["method"]["calibration"] and report["timeline"]
    (model,) = client.get("/v1/models").json()["items"]
    assert (model["model_version"], model["active"]) == ("toy-1", True)


def without_a_spec(folder: Path) -> None:
    (folder / "toy.onnx").write_bytes(b"another graph")


def another_calibration(folder: Path) -> None:
    write_toy_model(folder, calibration=Calibration(slope=3.0, intercept=0.0, llr_min=-6.0, llr_max=6.0))


@pytest.mark.parametrize("replace_model", [without_a_spec, another_calibration])
def test_a_model_replaced_under_the_service_examines_nothing_until_it_is_put_back(
    make_client: Callable[..., TestClient],
    upload: Callable[..., str],
    wait_until: Callable[..., None],
    speech: bytes,
    tmp_path: Path,
    replace_model: Callable[[Path], None],
) -> None:
    of_others = set(multiprocessing.active_children())
    client = make_client(detector=OnnxSource(write_toy_model(tmp_path)))
    run = f"/v1/analysis/{upload(client, content=speech)}/run"
    assert client.post(run).status_code == 200
    replace_model(tmp_path)
    for process in set(multiprocessing.active_children()) - of_others:
        process.kill()  # the worker that had loaded it; the next one finds what is there now
    answers: list[Any] = []

    def mismatch() -> bool:
        answers.append(client.post(run))
        return bool(
            answers[-1].json().get("code") != "worker_crash"
        )  # of the killed one, where the pool saw it late

    wait_until(mismatch)
    assert (answers[-1].status_code, answers[-1].json()["code"]) == (503, "model_mismatch")
    assert "start the service again" in answers[-1].json()["detail"] and str(tmp_path) not in answers[-1].text
    write_toy_model(tmp_path)
    assert client.post(run).status_code == 200


def test_the_worker_s_memory_limit_leaves_room_for_the_real_runtime(
    make_client: Callable[..., TestClient], tmp_path: Path
) -> None:
    client = make_client(detector=OnnxSource(write_toy_model(tmp_path)))
    for _ in range(600):
        checks = client.get("/ready").json()["checks"]
        if checks["model"] != "loading":
            break
    assert checks["model"] == "ok"
