"""Workers as operators see them: a port that tells how they are, and another model without a restart."""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from app.database import Database
from app.evidence.store import FolderStore
from app.health.probe import lives
from app.jobs.operations import Answer, Operations, listening
from app.jobs.worker import JobWorker, WorkerOptions
from app.metrics import Metrics
from tests.toy_model import write_toy_model

WaitUntil = Callable[[Callable[[], bool]], None]
OPTIONS = WorkerOptions(1, timedelta(seconds=0.2), timedelta(seconds=30), timedelta(seconds=1))


def put(folder: Path, version: str) -> Path:
    """A toy model of that version as the latest on the shelf `folder`, over the one that lies there."""
    (folder / version).mkdir(exist_ok=True)
    made = write_toy_model(folder / version, model_version=version)
    for suffix in (".onnx", ".json"):
        made.with_suffix(suffix).replace(folder / f"latest{suffix}")
    return folder / "latest.onnx"


@pytest.fixture(scope="module")
def site(make_service: Any, make_url: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A service that does no runs, and the worker that does them; with clients of both, on one shelf."""
    root = tmp_path_factory.mktemp("site")
    shelf = root / "shelf"
    for name in ("shelf", "service", "worker"):
        (root / name).mkdir()
    common = {
        "EARWITNESS_DATABASE_URL": make_url("postgresql"),
        "EARWITNESS_EVIDENCE_DIR": str(root / "evidence"),
        "EARWITNESS_WORKER_HEARTBEAT": "0.2",
        "EARWITNESS_WORKER_LOST_AFTER": "20",
        "SERVE_THE_REAL_ONE": "1",
    }
    common["EARWITNESS_MODEL"] = str(put(shelf, "one"))
    service = make_service(root / "service", EARWITNESS_WORKERS="0", **common).start()
    worker = make_service(root / "worker", "work_dummy.py", EARWITNESS_WORKER_PORT="0", **common).start()
    with service.client() as client, worker.client() as told:
        yield SimpleNamespace(shelf=shelf, worker=worker, client=client, told=told)
    assert worker.stop() == 0
    service.stop()


def metric(site: SimpleNamespace, line: str) -> float:
    found = re.search(rf"^{re.escape(line)} (\S+)$", site.told.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def analysis(site: SimpleNamespace, content: bytes) -> str:
    answer = site.client.post("/v1/analysis/upload", files={"file": ("a.wav", content)})
    return str(answer.json()["analysis_id"])


def test_a_worker_tells_that_it_lives_and_can_work_and_what_it_did(
    site: SimpleNamespace, wav: bytes, wait_until: WaitUntil
) -> None:
    wait_until(lambda: site.told.get("/ready").status_code == 200)
    checks = {"database": "ok", "evidence_store": "ok", "model": "ok", "queue": "ok"}
    assert site.told.get("/readyz").json() == {"status": "ready", "checks": checks}
    assert site.told.get("/health").json() == site.told.get("/healthz").json() == {"status": "ok"}
    assert (site.told.get("/v1/analysis").status_code, site.told.get("/x").json()["code"]) == (404, "not_found")
    ended = metric(site, "earwitness_run_seconds_count")
    run = site.client.post(f"/v1/analysis/{analysis(site, wav)}/run").json()
    assert run["model_version"] == "one"
    wait_until(lambda: metric(site, "earwitness_run_seconds_count") == ended + 1)
    assert metric(site, f'earwitness_runs_total{{outcome="{run["verdict"]}"}}') == ended + 1
    assert metric(site, "earwitness_runs_waiting") == 0.0
    assert 'model_version="one"' in site.told.get("/metrics").text
    port = site.worker.url.rpartition(":")[2]
    environment = {**os.environ, "EARWITNESS_WORKER_PORT": port}
    probe = [sys.executable, "-m", "app.health.probe", "worker"]
    assert subprocess.run(probe, env=environment, check=False, timeout=60).returncode == 0
    assert subprocess.run(probe, check=False, timeout=60).returncode == 1, "no port is set: nothing to ask"


def test_all_follow_a_reload_at_any_of_them_and_no_run_is_dropped(
    site: SimpleNamespace, wav: bytes, wait_until: WaitUntil
) -> None:
    made: list[tuple[int, str]] = []
    done = threading.Event()
    run = f"/v1/analysis/{analysis(site, wav)}/run"

    def ask() -> None:
        while not done.is_set():
            answer = site.client.post(run)
            made.append((answer.status_code, answer.json().get("model_version", answer.text)))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        wait_until(lambda: len(made) >= 2)
        put(site.shelf, "two")
        assert site.client.post("/v1/models/reload").status_code == 200
        wait_until(lambda: made[-1][1] == "two")
        put(site.shelf, "three")
        site.worker.process.send_signal(signal.SIGHUP)
        wait_until(lambda: made[-1][1] == "three")
        wait_until(lambda: site.client.get("/v1/models").json()["items"][0]["model_version"] == "three")
    finally:
        done.set()
        thread.join()
    assert {status for status, _ in made} == {200}
    order = [version for _, version in made]
    assert order == sorted(order, key=["one", "two", "three"].index), "never back to an old one"


def test_a_worker_that_is_given_a_bad_model_says_so_and_goes_on(
    site: SimpleNamespace, wav: bytes, wait_until: WaitUntil
) -> None:
    good = (site.shelf / "latest.onnx").read_bytes()
    (site.shelf / "latest.onnx").write_bytes(b"no graph")
    refused = 'earwitness_model_changes_total{result="refused"}'
    before = metric(site, refused)
    site.worker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: metric(site, refused) == before + 1)
    assert site.client.post(f"/v1/analysis/{analysis(site, wav)}/run").status_code == 200
    (site.shelf / "latest.onnx").write_bytes(good)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    made = FolderStore(tmp_path / "evidence")  # as a service does
    made.make_folders()
    made.close()
    return FolderStore(tmp_path / "evidence", owner=False)


def test_a_worker_that_takes_no_runs_is_not_ready(make_url: Any, store: FolderStore) -> None:
    database = Database(make_url("postgresql"))
    worker = JobWorker(database, lambda *_: None, lambda: None, OPTIONS)
    operations = Operations(database, store, worker, Metrics(), threading.Event())
    (store.local_folder / "tmp").rmdir()  # a worker needs no right to write
    checks = {"database": "ok", "evidence_store": "ok", "model": "loading", "queue": "takes no runs"}
    assert operations.checks() == checks
    assert operations.answer("/ready")[0] == 503
    database.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_whose_loop_ended_by_a_bug_is_no_longer_alive(
    make_url: Any, store: FolderStore, wait_until: WaitUntil
) -> None:
    database = Database(make_url("postgresql"))

    class Broken(JobWorker):
        async def _work_on(self) -> None:
            raise RuntimeError("a bug")

    worker = Broken(database, lambda *_: None, lambda: None, OPTIONS)
    operations = Operations(database, store, worker, Metrics(), threading.Event())
    assert operations.answer("/health")[0] == 200
    worker.start()
    wait_until(lambda: operations.answer("/health")[0] == 503)
    worker.close()
    database.close()


def test_the_health_check_hangs_up_without_an_error_for_who_answered() -> None:
    """Bytes that it left unread reset the connection: each such check left a traceback in the worker's log."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as other:
        asked = other.submit(lives, *server.getsockname())
        connection, _ = server.accept()
        with connection:
            connection.recv(65_536)
            body = bytes(65_536)  # more than is read along with the headers
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            assert asked.result() is True
            assert connection.recv(1) == b""


def test_a_client_that_hangs_up_is_no_warning() -> None:
    def fails() -> Answer:
        raise ZeroDivisionError

    broken = cast("Operations", SimpleNamespace(answer=lambda _: fails()))
    with capture_logs() as logs, listening("127.0.0.1", 0, broken) as url:
        host, port = url.removeprefix("http://").split(":")
        for sent in (b"", b"GET /health HTTP/1.1\r\n\r\n"):
            with socket.create_connection((host, int(port))) as client:
                client.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )  # reset at its close
                client.sendall(sent)
                if sent:
                    assert client.recv(1) == b"", "hung up on"
        while not logs:
            time.sleep(0.01)
    (told,) = logs
    assert told["event"] == "operations_request_failed"
