"""Step B1: the service lives, says whether it can work and which version it is, and keeps the shape of its answers."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator

from app.version import git_revision

PLAIN_GETS = ("/health", "/ready", "/version", "/v1/analysis", "/v1/models", "/v1/audit/chain")


def test_health_is_exactly_ok(client: TestClient) -> None:
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}


def test_ready_names_every_part(client: TestClient, wait_until: Callable[..., None]) -> None:
    wait_until(lambda: client.get("/ready").status_code == 200)
    assert client.get("/ready").json() == {
        "status": "ready",
        "checks": {"database": "ok", "evidence_store": "ok", "model": "ok", "queue": "ok"},
    }


def test_ready_is_503_when_the_evidence_store_is_gone(
    make_client: Callable[..., TestClient], tmp_path: Path
) -> None:
    client = make_client(evidence_dir=tmp_path / "store")
    (tmp_path / "store" / "tmp").rmdir()
    answer = client.get("/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"]["evidence_store"] == "not writable"


def test_version_tells_release_revision_and_report_version(client: TestClient) -> None:
    answer = client.get("/version").json()
    assert answer.keys() == {"version", "git_revision", "report_version"}
    assert answer["report_version"] == 2


def test_git_revision_reads_loose_and_packed_references(tmp_path: Path) -> None:
    git = tmp_path / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert git_revision(tmp_path) == "unknown"
    (git / "packed-refs").write_text("# pack-refs\naaa refs/heads/main\n")
    assert git_revision(tmp_path) == "aaa"
    (git / "refs" / "heads" / "main").write_text("bbb\n")
    assert git_revision(tmp_path) == "bbb"


@pytest.mark.parametrize("path", PLAIN_GETS)
def test_contract_answers_follow_the_published_schema(client: TestClient, path: str) -> None:
    document = client.get("/openapi.json").json()
    answer = client.get(path)
    content = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
    schema = {**content["schema"], "components": document["components"]}
    Draft202012Validator(schema).validate(answer.json())


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_endpoint_is_404_in_the_common_error_shape(client: TestClient, method: str) -> None:
    answer = client.request(method, "/v1/nothing-here")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"


def test_known_endpoint_with_another_method_is_405(client: TestClient) -> None:
    answer = client.delete("/health")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert "GET" in answer.headers["allow"]


def test_smoke_100_health_calls_leave_no_thread_or_file_open(client: TestClient) -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    client.get("/health")
    before = open_files()
    assert all(client.get("/health").status_code == 200 for _ in range(100))
    assert open_files() <= before
