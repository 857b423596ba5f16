"""Step B6: who asks is known, what a role may do stands in one table, production believes no header."""

import itertools
import re
import uuid
from collections.abc import Callable, Mapping

import pytest
from fastapi.testclient import TestClient

from app.errors import NotAuthenticatedError
from app.identity.permissions import PERMISSIONS, Action
from app.identity.user import Role, User
from app.settings import Mode

Upload = Callable[..., str]
MakeClient = Callable[..., TestClient]
OPEN = ("/health", "/ready", "/version", "/metrics", "/openapi.json")

CALLS: Mapping[Action, tuple[str, str]] = {
    Action.UPLOAD: ("POST", "/v1/analysis/upload"),
    Action.RUN: ("POST", "/v1/analysis/{id}/run"),
    Action.READ_RECORD: ("GET", "/v1/analysis/{id}"),
    Action.READ_REPORT: ("GET", "/v1/analysis/{id}/report"),
    Action.READ_MODELS: ("GET", "/v1/models"),
    Action.READ_RUNS: ("GET", "/v1/analysis/{id}/runs"),
    Action.READ_EVENTS: ("GET", "/v1/analysis/{id}/events"),
    Action.READ_EVIDENCE: ("GET", "/v1/analysis/{id}/evidence"),
    Action.VERIFY_AUDIT: ("GET", "/v1/audit/chain"),
    Action.RELOAD_MODELS: ("POST", "/v1/models/reload"),
    Action.REPLAY: ("POST", "/v1/analysis/{id}/replay"),
    Action.BATCH: ("POST", "/v1/batches"),
    Action.READ_BATCHES: ("GET", "/v1/batches"),
    Action.ERASE_EVIDENCE: ("DELETE", "/v1/analysis/{id}/evidence"),
    Action.HOLD_EVIDENCE: ("PUT", "/v1/analysis/{id}/hold"),
    Action.MANAGE_WEBHOOKS: ("GET", "/v1/webhooks"),
}
EXPECTED: Mapping[Action, str] = {
    Action.UPLOAD: "field analyst admin",
    Action.RUN: "field analyst admin",
    Action.READ_RECORD: "field analyst admin",
    Action.READ_REPORT: "field analyst admin",
    Action.READ_MODELS: "field analyst admin",
    Action.READ_RUNS: "analyst admin",
    Action.READ_EVENTS: "analyst admin",
    Action.READ_EVIDENCE: "analyst admin",
    Action.VERIFY_AUDIT: "admin",
    Action.RELOAD_MODELS: "admin",
    Action.REPLAY: "analyst admin",
    Action.BATCH: "analyst admin",
    Action.READ_BATCHES: "analyst admin",
    Action.ERASE_EVIDENCE: "admin",
    Action.HOLD_EVIDENCE: "admin",
    Action.MANAGE_WEBHOOKS: "admin",
}
"""The matrix, written out a second time on purpose: a slip in the table must not slip through."""


def test_the_permission_table_is_the_matrix() -> None:
    assert {a: " ".join(r for r in Role if a in PERMISSIONS[r]) for a in Action} == EXPECTED


@pytest.mark.parametrize(("action", "role"), list(itertools.product(Action, Role)))
def test_matrix_each_role_may_do_exactly_what_the_table_says(
    client: TestClient, action: Action, role: Role
) -> None:
    method, path = CALLS[action]
    headers = {"X-User": "somebody", "X-Role": role.value}
    answer = client.request(method, path.replace("{id}", str(uuid.uuid4())), headers=headers)
    if role.value in EXPECTED[action].split():
        assert answer.status_code not in (401, 403)
    else:
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_every_route_but_the_open_ones_asks_for_a_permission(make_client: MakeClient) -> None:
    client = make_client(mode=Mode.PRODUCTION)
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method in methods:
            answer = client.request(method, re.sub(r"{\w+}", str(uuid.uuid4()), path))
            if path in OPEN:
                assert answer.status_code in (200, 503), path
            else:
                assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated"), path
                assert answer.headers["www-authenticate"] == "Bearer"


def test_without_headers_existing_endpoints_work_in_development(client: TestClient, upload: Upload) -> None:
    assert client.get(f"/v1/analysis/{upload(client)}").json()["created_by"] == "developer"


def test_created_by_is_the_user(client: TestClient, wav: bytes) -> None:
    headers = {"X-User": "j.doe@lab", "X-Role": "field"}
    answer = client.post("/v1/analysis/upload", files={"file": ("a.wav", wav)}, headers=headers)
    assert client.get(answer.headers["location"]).json()["created_by"] == "j.doe@lab"


def test_a_named_user_without_a_role_gets_the_least(client: TestClient) -> None:
    assert client.get("/v1/models", headers={"X-User": "ada"}).status_code == 200
    assert client.get("/v1/audit/chain", headers={"X-User": "ada"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"X-User": ""},
        {"X-User": "a b"},
        {"X-User": "x" * 129},
        {"X-User": "ö"},
        {"X-Role": "king"},
        {"X-Role": "ADMIN"},
    ],
)
def test_malformed_identity_headers_are_400(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.get("/v1/models", headers={k: v.encode("latin-1") for k, v in headers.items()})
    assert (answer.status_code, answer.json()["code"]) == (400, "identity_header")


@pytest.mark.parametrize("headers", [{"X-User": "root"}, {"X-Role": "admin"}])
def test_production_refuses_development_headers(make_client: MakeClient, headers: dict[str, str]) -> None:
    client = make_client(mode=Mode.PRODUCTION)
    answer = client.get("/v1/analysis", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "identity_header")


def test_another_authenticator_can_take_the_place_of_the_headers(make_client: MakeClient) -> None:
    class OneToken:
        def authenticate(self, headers: Mapping[str, str]) -> User:
            if headers.get("Authorization") != "Bearer secret":
                raise NotAuthenticatedError("a token is needed")
            return User("token-holder", Role.ANALYST)

    client = make_client(mode=Mode.PRODUCTION, authenticator=OneToken())
    assert client.get("/v1/models").status_code == 401
    assert client.get("/v1/models", headers={"Authorization": "Bearer secret"}).status_code == 200
