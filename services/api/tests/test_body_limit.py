"""Everywhere: no body is held whole that is longer than its request needs, whoever sends it, and however."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.middleware import MAX_BODY_BYTES

JSON = {"Content-Type": "application/json"}
FLOOD_BYTES = 256 << 20
MAY_GROW_BYTES = 64 << 20  # a quarter of what is sent: it is held nowhere


def pieces(total: int) -> Iterator[bytes]:
    """Without a length that could be declared, so it goes out in chunks."""
    yield b'{"url": "'
    piece = b"a" * (1 << 20)
    for _ in range(total // len(piece)):
        yield piece
    yield b'"}'


def most_memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) << 10


def test_a_flood_from_somebody_unknown_is_not_held_in_memory(service_process: Any) -> None:
    service_process.environment["EARWITNESS_MODE"] = "production"
    service_process.start()
    with service_process.client() as client:
        assert client.post("/v1/webhooks", json={}).status_code == 401
        before = most_memory(service_process.process.pid)
        answer = client.post("/v1/webhooks", content=pieces(FLOOD_BYTES), headers=JSON)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert most_memory(service_process.process.pid) - before < MAY_GROW_BYTES
        assert client.get("/health").status_code == 200  # on the same connection


@pytest.mark.parametrize("method_and_path", ["POST /v1/webhooks", "POST /v1/models/reload", "GET /v1/analysis"])
def test_a_declared_length_beyond_the_limit_is_refused_before_it_is_read(
    client: TestClient, method_and_path: str
) -> None:
    answer = client.request(*method_and_path.split(), content=b" " * (MAX_BODY_BYTES + 1), headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert str(MAX_BODY_BYTES) in answer.json()["detail"]


@pytest.mark.parametrize("framed", [bytes, lambda body: iter([body])], ids=["declared", "chunked"])
def test_a_body_of_exactly_the_limit_is_read(client: TestClient, framed: Callable[[bytes], Any]) -> None:
    body = b'{"url": "http://127.0.0.1/"}'.ljust(MAX_BODY_BYTES)
    answer = client.post("/v1/webhooks", content=framed(body), headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (422, "webhook_address")


def test_uploads_and_batches_keep_their_own_limits(
    client: TestClient, upload: Callable[..., str], make_wav: Callable[..., bytes]
) -> None:
    long = make_wav(seconds=10.0)
    assert len(long) > MAX_BODY_BYTES and upload(client, content=long)
    ids = ['"00000000-0000-4000-8000-000000000000"'] * 5_000  # some 200 kB
    answer = client.post("/v1/batches", content=f'{{"analysis_ids": [{",".join(ids)}]}}', headers=JSON)
    assert answer.status_code != 413
