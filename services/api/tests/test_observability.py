"""Everywhere: request ids, logs, metrics, security headers, CORS."""

import json
import logging
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from structlog._config import BoundLoggerLazyProxy

from app import logs

Upload = Callable[..., str]


def samples(client: TestClient) -> dict[tuple[str, ...], float]:
    text = client.get("/metrics").text
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_sane_request_id_is_echoed(client: TestClient) -> None:
    assert client.get("/health", headers={"X-Request-ID": "trace-7.a_b"}).headers["x-request-id"] == "trace-7.a_b"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a\tb", "<script>"])
def test_any_other_request_id_is_replaced(client: TestClient, given: str) -> None:
    answer = client.get("/health", headers={"X-Request-ID": given})
    assert uuid.UUID(answer.headers["x-request-id"])


def test_errors_carry_the_request_id(client: TestClient) -> None:
    answer = client.get("/v1/nothing", headers={"X-Request-ID": "find-me"})
    assert answer.json()["request_id"] == "find-me"


def test_security_headers_are_on_every_answer(client: TestClient) -> None:
    for path in ("/health", "/v1/analysis", "/v1/nothing"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "server" not in headers


def test_cors_is_closed_by_default(client: TestClient) -> None:
    answer = client.get("/health", headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_cors_opens_for_named_origins_only(make_client: Callable[..., TestClient]) -> None:
    client = make_client(cors_origins=("https://lab.example",))
    friend = client.get("/health", headers={"Origin": "https://lab.example"})
    stranger = client.get("/health", headers={"Origin": "https://evil.example"})
    assert friend.headers["access-control-allow-origin"] == "https://lab.example"
    assert "access-control-allow-origin" not in stranger.headers


def test_metrics_count_requests_by_route_uploads_and_runs(
    make_client: Callable[..., TestClient], upload: Upload, wav: bytes
) -> None:
    client = make_client()
    for _ in range(3):
        client.post(f"/v1/analysis/{upload(client)}/run")
    client.post(f"/v1/analysis/{upload(client, 'raise_input-1.wav')}/run")
    client.get("/v1/no-such-path")
    found = samples(client)
    run = "/v1/analysis/{analysis_id}/run"
    assert found[("earwitness_http_requests_total", *sorted((run, "POST", "200")))] == 3
    assert found[("earwitness_http_requests_total", *sorted((run, "POST", "422")))] == 1
    assert found[("earwitness_http_requests_total", *sorted(("unmatched", "any", "404")))] == 1
    assert found[("earwitness_uploads_total",)] == 4
    assert found[("earwitness_upload_bytes_total",)] == 4 * len(wav)
    assert found[("earwitness_runs_total", "SUSPICIOUS")] == 3
    assert found[("earwitness_runs_total", "media_unreadable")] == 1
    assert found[("earwitness_runs_waiting",)] == 0


def test_methods_that_nobody_knows_share_one_label(make_client: Callable[..., TestClient]) -> None:
    client = make_client()
    for number in range(5):  # a path that is there, so that its route is told
        assert client.request(f"METHOD{number}" + "X" * 10_000, "/health").status_code == 405
    assert client.delete("/health").status_code == 405
    assert len(client.get("/metrics").content) < 50_000
    requests = {
        key[1:]: value for key, value in samples(client).items() if key[0] == "earwitness_http_requests_total"
    }
    assert requests[tuple(sorted(("/health", "OTHER", "405")))] == 5
    assert requests[tuple(sorted(("/health", "DELETE", "405")))] == 1


def test_altered_and_missing_evidence_is_counted_wherever_it_is_found(
    make_client: Callable[..., TestClient], upload: Upload, tmp_path: Path, wav: bytes
) -> None:
    client = make_client(evidence_dir=tmp_path / "store")
    path = f"/v1/analysis/{upload(client)}"
    client.post(f"{path}/run")
    (blob,) = [found for found in (tmp_path / "store" / "blobs").rglob("*") if found.is_file()]

    def problems() -> tuple[float, float]:
        found = samples(client)
        return tuple(found["earwitness_evidence_problems_total", kind] for kind in ("altered", "missing"))  # type: ignore[return-value]

    assert problems() == (0, 0)
    blob.chmod(0o600)
    blob.write_bytes(b"other bytes")
    client.post("/v1/analysis/upload", files={"file": ("a.wav", wav)})
    assert problems() == (1, 0)
    with pytest.raises(RuntimeError, match="response already started"):  # to a server: the answer breaks off
        client.get(f"{path}/evidence")
    assert problems() == (2, 0)
    client.post(f"{path}/replay")
    assert problems() == (3, 0)
    client.post(f"{path}/run")
    assert problems() == (4, 0)
    blob.unlink()
    for found, way in enumerate(("GET /evidence", "POST /replay", "POST /run"), start=1):
        method, _, rest = way.partition(" ")
        assert client.request(method, path + rest).status_code == 500
        assert problems() == (4, found)


def test_logs_are_one_json_object_a_line_with_the_request_id(
    make_client: Callable[..., TestClient], capfd: pytest.CaptureFixture[str]
) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    structlog_before = structlog.get_config()
    logs.configure("INFO")
    try:
        client = make_client()
        client.get("/health?secret=1", headers={"X-Request-ID": "find-me"})
    finally:
        structlog.configure(**structlog_before)
        for module in list(
            sys.modules.values()
        ):  # loggers keep what they were configured with when they first spoke
            if isinstance(logger := vars(module).get("log"), BoundLoggerLazyProxy):
                vars(logger).pop("bind", None)
        logging.getLogger().handlers[:], level = before
        logging.getLogger().setLevel(level)
    lines: list[dict[str, Any]] = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    (request,) = [line for line in lines if line.get("request_id") == "find-me"]
    assert (request["event"], request["method"], request["path"]) == ("request", "GET", "/health")
    assert (request["status"], request["level"]) == (200, "info")
    assert "secret" not in json.dumps(request)
