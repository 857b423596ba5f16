"""Hostile recordings through the whole service, with the real decoder: each is answered, and the service goes on."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.detectors.source import OnnxSource
from tests.mutated_media import mutated, originals
from tests.toy_model import write_toy_model

SEED = 20261124
REFUSED = {"unsupported_media", "media_empty", "media_unreadable", "media_limit", "upload_field"}
"""Codes that say what is wrong with the recording."""
ENDED = {"run_timeout", "worker_crash"}
"""Codes of a run that the service had to end, or whose decoder ended itself."""
CRASHES_SHARE = 0.01  # a decoder's faults are its own; more than a few would be ours


def examine(client: TestClient, folder: Path, count: int) -> Counter[str]:
    """Upload and run `count` recordings; how many had each outcome."""
    outcomes: Counter[str] = Counter()
    for name, content in mutated(originals(folder), seed=SEED, count=count):
        answer = client.post("/v1/analysis/upload", files={"file": (name, content)})
        if answer.status_code == 201:
            answer = client.post(f"/v1/analysis/{answer.json()['analysis_id']}/run")
        body = answer.json()
        outcome = body["status"] if answer.status_code == 200 else body["code"]
        assert outcome in {"DONE", *REFUSED, *ENDED}, (name, answer.status_code, answer.text)
        outcomes[outcome] += 1
    return outcomes


def hostile(
    make_client: Callable[..., TestClient], tmp_path: Path, count: int, run_timeout: timedelta
) -> Counter[str]:
    client = make_client(detector=OnnxSource(write_toy_model(tmp_path)), run_timeout=run_timeout)
    outcomes = examine(client, tmp_path, count)
    assert sum(outcomes.values()) == count
    assert outcomes["worker_crash"] <= max(1, CRASHES_SHARE * count), outcomes
    stopped = (
        outcomes["run_timeout"] + outcomes["media_limit"]
    )  # which of them comes first, the machine's speed decides
    assert outcomes["DONE"] and outcomes["unsupported_media"] and stopped, outcomes
    assert client.get("/ready").json()["status"] == "ready"
    records = client.get("/v1/analysis", params={"limit": 200}).json()["items"]
    assert {record["status"] for record in records} <= {"DONE", "FAILED"}
    assert client.get("/v1/audit/chain").json()["intact"]
    return outcomes


def test_60_hostile_recordings_are_each_answered(make_client: Callable[..., TestClient], tmp_path: Path) -> None:
    """Absurd headers and the bomb among them, which is stopped at the time limit."""
    hostile(make_client, tmp_path, 60, timedelta(seconds=5))


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_1000_hostile_recordings_are_each_answered(make_client: Callable[..., TestClient], tmp_path: Path) -> None:
    print(hostile(make_client, tmp_path, 1_000, timedelta(seconds=20)))
