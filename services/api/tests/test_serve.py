"""`python -m app`: a free port, told to whoever asks; a graceful end; a clear word where it can't start."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from fastapi import FastAPI

from app.runs.queue import LocalQueue, Priority
from app.server import EXIT_CANT_START, serve
from app.settings import Settings

SERVE_DUMMY = Path(__file__).with_name("serve_dummy.py")


def test_port_0_takes_a_free_port_and_tells_it(service_process: Any) -> None:
    port_file = service_process.folder / "port"
    service_process.environment["EARWITNESS_PORT_FILE"] = str(port_file)
    service = service_process.start()
    with service.client() as client:
        assert client.get("/health").json() == {"status": "ok"}
    assert service.url.endswith(f":{port_file.read_text().strip()}")


def test_a_stop_lets_the_run_under_way_finish(service_process: Any, wav: bytes) -> None:
    service_process.environment["EARWITNESS_SHUTDOWN_GRACE"] = "30"
    service = service_process.start()
    answers: list[int] = []
    with service.client() as client:
        upload = client.post("/v1/analysis/upload", files={"file": ("slow-1.wav", wav)}).json()
        run = f"/v1/analysis/{upload['analysis_id']}/run"
        waiting = threading.Thread(target=lambda: answers.append(client.post(run).status_code))
        waiting.start()
        end = time.monotonic() + 30
        while client.get(f"/v1/analysis/{upload['analysis_id']}").json()["status"] == "UPLOADED":
            assert time.monotonic() < end
        assert service.stop() in (0, -signal.SIGTERM)
        waiting.join()
    assert answers == [200]


@pytest.mark.parametrize(
    ("setting", "value", "complaint"),
    [
        ("EARWITNESS_PORT", "99999", "a setting is wrong (environment, prefix EARWITNESS_): port:"),
        ("EARWITNESS_CORS_ORIGINS", "https://a.example", "a setting is wrong: error parsing value"),
        ("EARWITNESS_MODEL", "/nowhere/x.onnx", "no model graph"),
        ("EARWITNESS_EVIDENCE_RETENTION", "P9999999D", "evidence_retention: Value error, a time has at most"),
        ("EARWITNESS_LOG_LEVEL", "foo", "log_level: Value error, there is no such level; there are "),
    ],
)
def test_a_service_that_cannot_start_says_why_in_one_line_and_exits_2(
    tmp_path: Path, setting: str, value: str, complaint: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app"],
        cwd=tmp_path,
        env={**os.environ, setting: value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    check_refusal(done, complaint)


def test_a_port_file_that_can_t_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    places = {
        "EARWITNESS_PORT": "0",
        "EARWITNESS_PORT_FILE": "/nowhere/port",
        "EARWITNESS_EVIDENCE_DIR": str(tmp_path / "evidence"),
        "EARWITNESS_DATABASE_URL": f"sqlite:///{tmp_path}/service.db",
    }
    done = try_to_serve({**os.environ, **places}, tmp_path)
    check_refusal(done, "can't write EARWITNESS_PORT_FILE")
    assert done.stdout == ""  # who waits for the address never gets one that is closed again


def test_what_a_service_makes_nobody_else_can_read(tmp_path: Path, wav: bytes) -> None:
    settings = {"EARWITNESS_PORT": "0", "EARWITNESS_PORT_FILE": str(tmp_path / "port")}
    with subprocess.Popen(
        [sys.executable, "-m", "app"],
        cwd=tmp_path,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        umask=0o022,
        text=True,
    ) as service:
        assert service.stdout is not None
        url = json.loads(service.stdout.readline())["url"]
        assert (
            httpx.post(f"{url}/v1/analysis/upload", files={"file": ("a.wav", wav)}, timeout=60).status_code == 201
        )
        made = list(tmp_path.rglob("*"))
        open_to_others = [path for path in made if path.stat().st_mode & 0o077]
        service.terminate()
    names = {path.name for path in made}
    assert names >= {"port", "var", "earwitness.db", "earwitness.db-wal", "evidence", "blobs"}
    assert open_to_others == []


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("mysql://root:secret@h/d", "names `mysql`, which can't be worked with: write sqlite:///"),
        # port 1: nobody listens
        ("postgresql://u:secret@localhost:1/d", "the database can't be used; check EARWITNESS_DATABASE_URL"),
    ],
)
def test_a_database_url_that_leads_nowhere_is_told_in_one_line(tmp_path: Path, url: str, complaint: str) -> None:
    done = try_to_serve({**os.environ, "EARWITNESS_PORT": "0", "EARWITNESS_DATABASE_URL": url}, tmp_path)
    check_refusal(done, complaint)
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("shared", "complaint"),
    [
        ("EARWITNESS_PORT", "can't listen on 127.0.0.1:"),
        ("EARWITNESS_EVIDENCE_DIR", "another service works with the evidence folder"),
    ],
)
def test_a_second_service_says_what_the_first_one_has_and_exits_2(
    service_process: Any, tmp_path: Path, shared: str, complaint: str
) -> None:
    first = service_process.start()
    second = {
        **os.environ,
        "EARWITNESS_PORT": "0",
        "EARWITNESS_EVIDENCE_DIR": str(tmp_path / "second"),
        "EARWITNESS_DATABASE_URL": f"sqlite:///{tmp_path}/second.db",
    }
    taken = {**first.environment, "EARWITNESS_PORT": first.url.rpartition(":")[2]}
    done = try_to_serve({**second, shared: taken[shared]}, tmp_path)
    check_refusal(done, complaint)
    assert not (tmp_path / "second.db").exists()  # what one service has is asked for before anything is touched


def test_of_two_that_start_at_the_same_time_the_later_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Both have bound the port before either listens."""
    with socket.socket() as first:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first.bind(("127.0.0.1", 0))
        port = first.getsockname()[1]
        went_through = []

        @contextlib.asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
            first.listen()
            went_through.append("start")
            yield
            went_through.append("stop")

        assert serve(FastAPI(lifespan=lifespan), Settings(port=port)) == EXIT_CANT_START
    assert went_through == ["start", "stop"]
    assert f"can't listen on 127.0.0.1:{port}: [Errno" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_it_listens_where_it_is_told_to(service_process: Any, host: str) -> None:
    if host == "::1" and not speaks_ipv6():
        pytest.skip("this machine has no IPv6")
    service_process.environment["EARWITNESS_HOST"] = host
    with service_process.start().client() as client:
        assert client.get("/health").json() == {"status": "ok"}


def speaks_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def check_refusal(done: subprocess.CompletedProcess[str], complaint: str) -> None:
    told = [line for line in done.stderr.splitlines() if not line.startswith("{")]  # what is no log line
    assert len(told) == 1 and told[0].startswith("earwitness: ") and complaint in told[0], done.stderr
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def try_to_serve(environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SERVE_DUMMY],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_grace_that_has_passed_before_the_queue_closes_is_not_given_again() -> None:
    grace_s = 1.0
    interrupted = threading.Event()
    queue = LocalQueue(
        lambda _analysis_id, _run_id: wait_for(interrupted),
        interrupted.set,
        workers=1,
        max_waiting=1,
        grace=timedelta(seconds=grace_s),
    )
    queue.submit(uuid.uuid4(), uuid.uuid4(), Priority.ASYNC)
    queue.begin_grace()
    time.sleep(grace_s)  # as long as requests are waited for
    closing = time.monotonic()
    queue.close()
    assert time.monotonic() - closing < grace_s


def wait_for(event: threading.Event) -> None:
    assert event.wait(60)


def test_a_killed_service_leaves_no_worker_behind(service_process: Any, wav: bytes) -> None:
    service = service_process.start()
    assert service.process is not None
    with service.client() as client:
        upload = client.post("/v1/analysis/upload", files={"file": ("hang-1.wav", wav)}).json()
        client.post(f"/v1/analysis/{upload['analysis_id']}/run", headers={"Prefer": "respond-async"})
        end = time.monotonic() + 30
        while client.get(f"/v1/analysis/{upload['analysis_id']}").json()["status"] != "RUNNING":
            assert time.monotonic() < end
    family = descendants(service.process.pid)
    assert len(family) >= 3  # fork server, prober, worker
    service.kill()
    end = time.monotonic() + 30
    while any(alive(pid) for pid in family):
        assert time.monotonic() < end, "a worker outlives its service"
        time.sleep(0.1)


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
