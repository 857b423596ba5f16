"""Operations: traces of requests and runs where an operator asks for them; else no SDK is even imported."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from app import tracing

MakeClient = Callable[..., TestClient]
WaitUntil = Callable[[Callable[[], bool]], None]
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLER = {"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01"}


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    stop = tracing.configure(None, exporter)
    yield exporter
    stop()


def spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def parent_of(span: ReadableSpan, found: dict[str, ReadableSpan]) -> str | None:
    by_id = {other.context.span_id: name for name, other in found.items() if other.context}
    return None if span.parent is None else by_id.get(span.parent.span_id)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_run_belongs_to_the_trace_of_its_request_whoever_carries_it_out(
    make_client: MakeClient, upload: Any, exporter: InMemorySpanExporter, wait_until: WaitUntil, kind: str
) -> None:
    client = make_client(kind=kind)
    analysis_id = upload(client)
    exporter.clear()
    assert client.post(f"/v1/analysis/{analysis_id}/run", headers=CALLER).status_code == 200
    wait_until(lambda: "run" in spans(exporter))  # the answer does not wait for the end of the worker's span
    found = spans(exporter)
    request = found["POST /v1/analysis/{analysis_id}/run"]
    assert request.kind is SpanKind.SERVER
    assert request.attributes is not None and request.attributes["http.response.status_code"] == 200
    run = found["run"]
    assert run.attributes is not None and run.attributes["earwitness.analysis_id"] == analysis_id
    assert parent_of(run, found) == request.name
    assert {parent_of(found[name], found) for name in ("verify", "examine", "record")} == {"run"}
    assert {span.context.trace_id for span in found.values() if span.context} == {int(TRACE_ID, 16)}


def test_the_steps_of_an_upload(make_client: MakeClient, upload: Any, exporter: InMemorySpanExporter) -> None:
    upload(make_client())
    found = spans(exporter)
    assert {parent_of(found[name], found) for name in ("receive", "look", "commit")} == {
        "POST /v1/analysis/upload"
    }


def test_an_error_of_the_service_marks_its_span(make_client: MakeClient, exporter: InMemorySpanExporter) -> None:
    client = make_client()

    @client.app.get("/boom")  # type: ignore[attr-defined]
    def boom() -> None:
        raise ZeroDivisionError

    client.get("/boom")
    client.get("/v1/nothing")
    client.request("X" * 10_000, "/health")
    found = spans(exporter)
    assert found["GET /boom"].status.status_code is StatusCode.ERROR
    assert found["GET unmatched"].status.status_code is StatusCode.UNSET
    assert (
        dict(found["OTHER /health"].attributes or {})["http.request.method"] == "OTHER"
    )  # no name is made up outside


def test_what_the_worker_measured_is_told_by_the_span_that_waited_for_it(
    make_client: MakeClient, upload: Any, exporter: InMemorySpanExporter
) -> None:
    client = make_client()
    analysis_id = upload(client)
    client.post(f"/v1/analysis/{analysis_id}/run")
    (run,) = client.get(f"/v1/analysis/{analysis_id}/runs").json()["items"]
    attributes = spans(exporter)["examine"].attributes or {}
    measured = {key: value for key, value in attributes.items() if key.startswith("earwitness.timings_ms.")}
    assert measured == {f"earwitness.timings_ms.{name}": value for name, value in run["timings_ms"].items()}


def test_switched_off_neither_sdk_nor_exporter_is_imported() -> None:
    program = (
        "import sys; from app.application import create_app; from app.detectors.source import DummySource; "
        "from app.settings import Settings; from app import tracing; "
        "create_app(Settings(), detector=DummySource()); tracing.configure(None)(); "
        "sys.exit(any(name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=120).returncode == 0


def test_switched_off_there_is_no_context_to_hand_on() -> None:
    with tracing.span("nothing") as nothing:
        assert nothing is None
        assert tracing.carrier() == {}


def test_spans_reach_a_collector_by_otlp_over_http() -> None:
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    received: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_request(self, *told: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        stop = tracing.configure(f"http://127.0.0.1:{server.server_address[1]}/v1/traces")
        with tracing.span("found by its name"):
            pass
        stop()
        server.shutdown()
        thread.join()
    ((path, body),) = received
    assert path == "/v1/traces"
    assert b"found by its name" in body and b"earwitness" in body
