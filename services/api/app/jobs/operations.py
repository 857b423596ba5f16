"""What a worker tells of itself over HTTP: whether it lives, whether it can work, and its metrics.

    stack.enter_context(listening(settings.worker_host, port, Operations(...)))

The paths are the service's, and so are the answers: one health check and one scrape configuration serve both. Nothing
can be changed here, and nothing is told of any recording. A thread a request: who asks are a container engine and
Prometheus, a few times a minute, so the port belongs on the loopback address or in a network of their own.
"""

import json
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from socket import AF_INET, AF_INET6

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from app.database import Database
from app.errors import AppError
from app.evidence.store import EvidenceStore
from app.health.service import OK, database_check, store_trouble
from app.jobs import repository
from app.jobs.worker import JobWorker
from app.metrics import Metrics

CLIENT_LIMIT_S = 5.0  # a client that sends or reads nothing for so long is let go
JSON_TYPE = "application/json"
PROBLEM_TYPE = "application/problem+json"

Answer = tuple[int, str, bytes]
"""Status, media type, body."""

log = structlog.get_logger(__name__)


class Operations:
    def __init__(
        self,
        database: Database,
        store: EvidenceStore,
        worker: JobWorker,
        metrics: Metrics,
        loaded: threading.Event,
    ) -> None:
        """`loaded`: set once a worker process has loaded the detector."""
        self._database = database
        self._store = store
        self._worker = worker
        self._metrics = metrics
        self._loaded = loaded
        self._routes: dict[str, Callable[[], Answer]] = {
            "/health": self._health,
            "/healthz": self._health,
            "/ready": self._ready,
            "/readyz": self._ready,
            "/metrics": self._export,
        }

    def answer(self, path: str) -> Answer:
        route = self._routes.get(path.partition("?")[0])
        if route is None:
            detail = "a worker has /health, /ready and /metrics"
            problem = {"status": 404, "title": "Not found", "code": "not_found", "detail": detail}
            return 404, PROBLEM_TYPE, json.dumps(problem).encode()
        return route()

    def checks(self) -> dict[str, str]:
        """As the service's; `queue` says whether this worker takes runs."""
        return {
            "database": database_check(self._database),
            "evidence_store": self._evidence_store(),
            "model": OK if self._loaded.is_set() else "loading",
            "queue": OK if self._worker.takes_runs else "takes no runs",
        }

    def _health(self) -> Answer:
        if self._worker.died:  # only a restart helps, so this is what a container engine is to notice
            return 503, JSON_TYPE, json.dumps({"status": "the worker's loop has ended"}).encode()
        return 200, JSON_TYPE, json.dumps({"status": "ok"}).encode()

    def _ready(self) -> Answer:
        checks = self.checks()
        ready = all(word == OK for word in checks.values())
        body = json.dumps({"status": "ready" if ready else "not_ready", "checks": checks})
        return 200 if ready else 503, JSON_TYPE, body.encode()

    def _export(self) -> Answer:
        with suppress(SQLAlchemyError), self._database.read() as session:  # what is known here is told without it
            self._metrics.runs_waiting.set(repository.depth(session))
        return 200, CONTENT_TYPE_LATEST, generate_latest(self._metrics.registry)

    def _evidence_store(self) -> str:
        """A worker only reads, so its right to write there is not asked for; the copies that it reads need room."""
        if not self._store.local_folder.is_dir():
            return "its folder is gone"
        try:
            self._store.check_readable()
        except (AppError, OSError) as error:
            return store_trouble(error, full="no room for copies", otherwise="not readable")
        return OK


@contextmanager
def listening(host: str, port: int, operations: Operations) -> Iterator[str]:
    """The address that is listened on. Raises OSError where it can't be."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = CLIENT_LIMIT_S

        def do_GET(self) -> None:
            status, media_type, body = operations.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def version_string(self) -> str:
            return "earwitness"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name there
            """A health check every few seconds is no news."""

    with _Server(host, port, Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="operations", daemon=True)
        thread.start()
        try:
            yield f"http://{f'[{host}]' if ':' in host else host}:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class _Server(socketserver.ThreadingTCPServer):
    """Not http.server's: that one looks its own name up when it starts, which can take seconds."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = AF_INET6 if ":" in host else AF_INET
        super().__init__((host, port), handler)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  its names there
        if not isinstance(sys.exception(), ConnectionError):  # that the client hung up is no fault of the worker's
            log.warning("operations_request_failed", exc_info=True)
