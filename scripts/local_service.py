"""A service of one's own on this machine for as long as a script needs it, and a client without dependencies.

    with running_service(Path("var/demo")) as service:      # python -m app, on SQLite and a free port
        analysis_id = service.upload(Path("my.mp3"))
        record = service.ask("POST", f"/v1/analysis/{analysis_id}/run")

Its log is service.log in that folder, its database and evidence lie under service/; both are made anew.
"""

import http.client
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness.model_spec import MODEL_ENVIRONMENT_VARIABLE

HOST = "127.0.0.1"
IDENTITY = {"X-User": "demo", "X-Role": "analyst"}
"""Believed in development mode only, which is what this service runs in."""
LOG_NAME = "service.log"

START_LIMIT_S = 180.0  # the slowest first start: a cold disk, and every module still to be compiled
POLL_S = 0.1
GRACE_S = 5  # what the service gives a run under way when it is told to stop
STOP_LIMIT_S = 30.0  # after which it is killed
DYING_LIMIT_S = 1.0
ANSWER_LIMIT_S = 1_200.0  # of silence; the service itself ends a run after 15 minutes
SEND_BLOCK_BYTES = 1 << 20
FORM_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})
"""What browsers make of these in a form's file name."""


class ServiceError(Exception):
    """The service does not start, or has broken down; its log says more."""


class RefusedError(Exception):
    """The service's answer is a problem; its words are the message."""


@dataclass(frozen=True, slots=True)
class Service:
    process: subprocess.Popen[bytes]
    port: int

    def has_ended(self) -> bool:
        """After a connection broke: a process that dies closes its connections a moment before it is gone."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(DYING_LIMIT_S)
        return self.process.returncode is not None

    def ask(
        self, method: str, path: str, body: Iterable[bytes] | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The answer's JSON. Raises RefusedError for a problem, OSError or HTTPException without an answer."""
        content: dict[str, Any] = json.loads(self._answer(method, path, body, headers or {}))
        return content

    def page(self, path: str, media_type: str) -> bytes:
        """What is there in this form. Raises as `ask` does."""
        return self._answer("GET", path, None, {"Accept": media_type})

    def upload(self, path: Path) -> str:
        """Send a file in blocks, whatever its size; the id of its analysis. Raises as `ask` does."""
        boundary = uuid.uuid4().hex
        name = path.name.translate(FORM_ESCAPES).encode("utf-8", "replace").decode()
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        with path.open("rb") as file:
            length = len(head) + os.fstat(file.fileno()).st_size + len(tail)
            blocks = itertools.chain([head], iter(lambda: file.read(SEND_BLOCK_BYTES), b""), [tail])
            headers = {
                "Content-Type": f"multipart/form-data; boundary={boundary}",
                "Content-Length": str(length),
            }
            return str(self.ask("POST", "/v1/analysis/upload", blocks, headers)["analysis_id"])

    def checks(self) -> dict[str, str]:
        """What `GET /ready` says of each part; `ok` where nothing is missing."""
        _status, content = self._exchange("GET", "/ready", None, {})
        checks: dict[str, str] = json.loads(content)["checks"]
        return checks

    def _answer(self, method: str, path: str, body: Iterable[bytes] | None, headers: Mapping[str, str]) -> bytes:
        status, content = self._exchange(method, path, body, headers)
        if status >= 400:
            problem = json.loads(content)
            raise RefusedError(f"{problem['detail']} ({status} {problem['code']})")
        return content

    def _exchange(
        self, method: str, path: str, body: Iterable[bytes] | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=ANSWER_LIMIT_S)
        try:
            # Where the service answers before everything is sent, the answer says why.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body=body, headers={**IDENTITY, **headers})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@contextmanager
def running_service(folder: Path) -> Iterator[Service]:
    """Ready to work; stopped at the end whatever happens. Raises ServiceError where it can't start."""
    state = folder / "service"
    if state.exists():
        shutil.rmtree(state)
    state.mkdir()
    port_file = state / "port"
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("EARWITNESS_") or name == MODEL_ENVIRONMENT_VARIABLE
    }
    settings = {
        "EARWITNESS_MODE": "development",
        "EARWITNESS_HOST": HOST,
        "EARWITNESS_PORT": "0",
        "EARWITNESS_PORT_FILE": str(port_file),
        "EARWITNESS_DATABASE_URL": f"sqlite:///{state / 'earwitness.db'}",
        "EARWITNESS_EVIDENCE_DIR": str(state / "evidence"),
        "EARWITNESS_SHUTDOWN_GRACE": str(GRACE_S),
    }
    with (folder / LOG_NAME).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app"],
            env=inherited | settings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the script only, which then stops the service in order
        )
    try:
        yield _wait_until_ready(process, port_file)
    finally:
        _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], port_file: Path) -> Service:
    deadline = time.monotonic() + START_LIMIT_S
    missing = "it does not listen"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServiceError(f"the service could not start (exit status {process.returncode})")
        # Where it has gone since it wrote its port, the next look at the process says so.
        with suppress(OSError, http.client.HTTPException):
            service = Service(process, int(port_file.read_text()))
            checks = service.checks()
            missing = ", ".join(f"{part} {word}" for part, word in checks.items() if word != "ok")
            if not missing:
                return service
            if checks["model"] not in ("ok", "loading"):
                break
        time.sleep(POLL_S)
    raise ServiceError(f"the service did not become ready: {missing}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    # A second Ctrl-C must not leave it running.
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    process.terminate()
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for number, handler in handlers.items():
        signal.signal(number, handler)
