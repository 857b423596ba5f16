"""Browsers: no name but the service's own leads to it, and no page of another web site has it do anything."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from app.settings import Settings

MakeClient = Callable[..., TestClient]
OWN = "http://testserver"


@pytest.fixture
def with_defaults(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> MakeClient:
    monkeypatch.delenv("EARWITNESS_ALLOWED_HOSTS")
    return make_client


def refusal_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize(
    ("bound", "hosts", "others"),
    [
        ("127.0.0.1", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]"],
         ["evil.example:8000", "localhost.evil.example", "0.0.0.0:8000", "10.1.2.3", "", "[::2]:8000", "*"]),
        ("0.0.0.0", ["127.0.0.1:8000"], ["0.0.0.0:8000", "lab.example"]),
        ("::", ["[::1]:8000"], ["[::]:8000"]),
        ("Lab.example", ["lab.example:8000", "localhost:8000"], ["api.lab.example"]),
        ("fd00::1", ["[fd00::1]:8000"], ["fd00::1", "[fd00::2]"]),
    ],
)  # fmt: skip
def test_the_loopback_and_the_bound_host_are_answered_unless_told_otherwise(
    with_defaults: MakeClient, bound: str, hosts: list[str], others: list[str]
) -> None:
    client = with_defaults(host=bound)
    for host in hosts:
        assert client.get("/v1/analysis", headers={"Host": host}).status_code == 200, host
    for host in others:
        answer = client.get("/v1/analysis", headers={"Host": host})
        assert refusal_of(answer) == (400, "host_not_allowed"), host
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_an_operator_names_the_hosts(with_defaults: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARWITNESS_ALLOWED_HOSTS", " Lab.example, [fd00::1] ")
    named = with_defaults()
    for host, status in (
        ("lab.example:443", 200),
        ("[fd00::1]:8000", 200),
        ("localhost", 400),
        ("evil.example", 400),
    ):
        assert named.get("/v1/analysis", headers={"Host": host}).status_code == status
    monkeypatch.setenv("EARWITNESS_ALLOWED_HOSTS", "*")
    assert with_defaults().get("/v1/analysis", headers={"Host": "evil.example"}).status_code == 200


@pytest.mark.parametrize("wrong", ["https://lab.example", "lab.example:443", "fd00::1", "a b", "*.lab.example"])
def test_what_is_no_host_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("EARWITNESS_ALLOWED_HOSTS", f"localhost,{wrong}")
    with pytest.raises(ValidationError, match="without scheme and port"):
        Settings()


@pytest.mark.parametrize("path", ["/health", "/ready", "/version", "/metrics", "/openapi.json"])
def test_probes_may_ask_by_any_name(client: TestClient, path: str) -> None:
    assert client.get(path, headers={"Host": "10.42.0.7:8000"}).status_code in (200, 503)


FROM_ELSEWHERE = [
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": f"{OWN}:3000"},
    {"Origin": "https://evil.example"},
    {"Origin": f"{OWN}:3000"},
    {"Origin": f"{OWN}.evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
]


@pytest.mark.parametrize("headers", FROM_ELSEWHERE)
def test_a_page_of_another_site_has_nothing_done(client: TestClient, wav: bytes, headers: dict[str, str]) -> None:
    before = client.get("/v1/analysis").json()["total"]
    form = client.post("/v1/analysis/upload", files={"file": ("a.wav", wav)}, headers=headers)
    assert refusal_of(form) == (403, "cross_site")
    for method, path in (("POST", "/v1/models/reload"), ("POST", "/v1/batches"), ("DELETE", "/v1/webhooks/x")):
        assert refusal_of(client.request(method, path, headers=headers)) == (403, "cross_site")
    assert client.get("/v1/analysis", headers=headers).json()["total"] == before  # to read is up to the browser


@pytest.mark.parametrize(
    "headers",
    [{}, {"Sec-Fetch-Site": "same-origin", "Origin": OWN}, {"Sec-Fetch-Site": "none"}, {"Origin": OWN},
     {"Origin": "https://testserver"}],
)  # fmt: skip
def test_programs_and_pages_of_its_own_are_served(client: TestClient, wav: bytes, headers: dict[str, str]) -> None:
    answer = client.post("/v1/analysis/upload", files={"file": ("a.wav", wav)}, headers=headers)
    assert answer.status_code == 201


def test_pages_of_an_origin_that_an_operator_named_are_served(make_client: MakeClient, wav: bytes) -> None:
    client = make_client(cors_origins=("https://lab.example",))
    for origin, status in (("https://lab.example", 201), ("https://evil.example", 403)):
        headers = {"Sec-Fetch-Site": "cross-site", "Origin": origin}
        answer = client.post("/v1/analysis/upload", files={"file": ("a.wav", wav)}, headers=headers)
        assert answer.status_code == status


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "text/json", None])
@pytest.mark.parametrize("path", ["/v1/batches", "/v1/webhooks"])
def test_json_is_taken_as_what_it_is_called(client: TestClient, media_type: str | None, path: str) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    answer = client.post(path, content=b'{"analysis_ids": ["x"], "url": "x"}', headers=headers)
    assert refusal_of(answer) == (422, "invalid_request")
    assert [error["where"] for error in answer.json()["errors"]] == ["body"]


@pytest.mark.parametrize(
    "media_type", ["application/json", "Application/JSON; charset=utf-8", "application/x+json"]
)
def test_json_may_be_called_by_every_name_that_it_has(client: TestClient, media_type: str) -> None:
    answer = client.post("/v1/batches", content=b'{"import_path": "x"}', headers={"Content-Type": media_type})
    assert refusal_of(answer) == (422, "imports_off")
