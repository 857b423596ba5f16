"""Step I1: the shipped detector behind the service, many runs at a time and many after one another."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.detectors.source import OnnxSource
from earwitness.detector import DetectorInput
from earwitness.model_spec import default_model_path
from earwitness.onnx_detector import OnnxAudioDetector
from tests.audio_files import write_audio
from tests.processes import memory_kib
from tests.speechlike import speechlike

PARALLEL_RUNS = 10
WARM_INFERENCES, INFERENCES = 60, 200  # the first ones fill pools and caches that stay
GROWTH_MAX_KIB = 8 << 10  # a leaked waveform an inference would be 30 MiB over 140 of them


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_ten_parallel_runs_find_what_ten_single_ones_do(
    kind: str, make_client: Callable[..., TestClient], upload: Callable[..., str], tmp_path: Path
) -> None:
    source = OnnxSource(default_model_path())
    client = make_client(detector=source, kind=kind, workers=2)
    paths = [write_audio(tmp_path / f"{seed}.wav", speechlike(2.0, seed)) for seed in range(PARALLEL_RUNS)]
    ids = [upload(client, content=path.read_bytes()) for path in paths]

    def run(analysis_id: str) -> dict[str, Any]:
        answer = client.post(f"/v1/analysis/{analysis_id}/run")
        assert answer.status_code == 200, answer.text
        record: dict[str, Any] = answer.json()
        return record

    with ThreadPoolExecutor(PARALLEL_RUNS) as pool:
        records = list(pool.map(run, ids))
    detector = OnnxAudioDetector()
    for path, analysis_id, record in zip(paths, ids, records, strict=True):
        alone = detector.analyze(DetectorInput(path))
        assert (record["id"], record["status"]) == (analysis_id, "DONE")
        assert (record["verdict"], record["llr"]) == (alone.verdict.value, alone.llr)
        assert record["abstentions"] == [reason.value for reason in alone.abstentions]
        assert len(client.get(f"/v1/analysis/{analysis_id}/runs").json()["items"]) == 1


def test_200_inferences_do_not_grow(tmp_path: Path) -> None:
    detector = OnnxAudioDetector()
    recording = DetectorInput(write_audio(tmp_path / "a.wav", speechlike(3.0)))
    for _ in range(WARM_INFERENCES):
        detector.analyze(recording)
    before = memory_kib(os.getpid())
    for _ in range(INFERENCES - WARM_INFERENCES):
        detector.analyze(recording)
    assert memory_kib(os.getpid()) - before < GROWTH_MAX_KIB
