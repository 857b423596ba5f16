"""Killed with SIGKILL at a random moment, a service comes back with everything that it acknowledged, and no more."""

import contextlib
import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2 as httpx
import pytest

SEED = 20261122
CLIENTS = 3
LONGEST_TRAFFIC_S = 0.6
PATIENCE_S = 60


class Traffic:
    """Clients that upload and run without a pause until the service dies under them."""

    def __init__(self, contents: list[bytes]) -> None:
        self.acknowledged: dict[str, str] = {}
        """analysis_id to SHA-256 of every upload that was answered 201."""
        self.finished: dict[str, str] = {}
        """analysis_id to run_id of every run that was answered 200."""
        self._contents = contents

    @contextlib.contextmanager
    def on(self, service: Any) -> Iterator[None]:
        threads = [threading.Thread(target=self._client, args=(service, n)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        yield
        for thread in threads:
            thread.join()

    def _client(self, service: Any, number: int) -> None:
        generator = random.Random(f"{SEED}-{number}-{len(self.acknowledged)}")
        with service.client() as client, contextlib.suppress(httpx.TransportError):
            while True:
                content = generator.choice(self._contents)
                answer = client.post("/v1/analysis/upload", files={"file": ("a.wav", content)})
                assert answer.status_code == 201, answer.text
                analysis_id = answer.json()["analysis_id"]
                self.acknowledged[analysis_id] = hashlib.sha256(content).hexdigest()
                prefer = {"Prefer": "respond-async"} if generator.random() < 0.5 else {}
                answer = client.post(f"/v1/analysis/{analysis_id}/run", headers=prefer)
                assert answer.status_code in (200, 202), answer.text
                if answer.status_code == 200:
                    self.finished[analysis_id] = answer.json()["run_id"]


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def check_everything(service: Any, traffic: Traffic) -> None:
    records = {record["id"]: record for record in service.wait_until_idle()}
    store = service.folder / "evidence"
    blobs = {path.name: path for path in (store / "blobs").glob("*/*/*")}
    for analysis_id, sha256 in traffic.acknowledged.items():
        assert records[analysis_id]["sha256"] == sha256, "an acknowledged upload is lost or altered"
    for analysis_id, run_id in traffic.finished.items():
        assert (records[analysis_id]["status"], records[analysis_id]["run_id"]) == ("DONE", run_id)
    assert {record["sha256"] for record in records.values()} == blobs.keys(), "a row without bytes, or the reverse"
    for sha256, path in blobs.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    assert not [path for path in (store / "tmp").iterdir() if path.suffix == ".part"]
    assert {record["status"] for record in records.values()} <= {"UPLOADED", "DONE", "FAILED"}
    assert {record["failure_code"] for record in records.values()} <= {None, "interrupted"}
    with service.client() as client:
        assert client.get("/v1/audit/chain").json()["intact"] is True


def kill_again_and_again(service: Any, make_wav: Any, times: int) -> Traffic:
    generator = random.Random(SEED)
    # Some recordings come again and share a blob, some are large enough to be cut off half way.
    traffic = Traffic([make_wav(seconds=0.3 * 3**n, tone_hz=200.0 + 50 * m) for n in range(5) for m in range(8)])
    for _ in range(times):
        service.start()
        known = len(traffic.acknowledged)
        with traffic.on(service):
            # Most lives last until the traffic flows; some end while the first uploads wait for the workers.
            if generator.random() < 0.8:
                wait_until(lambda: len(traffic.acknowledged) > known)  # noqa: B023  called at once
            time.sleep(generator.uniform(0.0, LONGEST_TRAFFIC_S))
            service.kill()
    service.start()
    check_everything(service, traffic)
    return traffic


def test_killed_3_times_under_load_nothing_acknowledged_is_lost(service_process: Any, make_wav: Any) -> None:
    traffic = kill_again_and_again(service_process, make_wav, 3)
    assert traffic.acknowledged


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_killed_100_times_under_load_nothing_acknowledged_is_lost(service_process: Any, make_wav: Any) -> None:
    traffic = kill_again_and_again(service_process, make_wav, 100)
    assert len(traffic.acknowledged) > 100
