"""Everywhere: one table from error to status, one shape of error, nothing that leaks."""

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app import errors
from app.application import create_app
from app.detectors.source import DummySource, OnnxSource
from app.problems import CODE_BY_STATUS
from app.settings import Settings
from earwitness.errors import EarwitnessError, ModelNotFoundError


def family(root: type[Exception]) -> Iterator[type[Exception]]:
    yield root
    for child in root.__subclasses__():
        yield from family(child)


ALL = sorted({*family(EarwitnessError), *family(errors.AppError)}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", ALL)
def test_every_error_of_library_and_service_is_in_the_table(kind: type[Exception]) -> None:
    status, title = errors.STATUS_BY_ERROR[kind]
    assert 400 <= status < 600
    assert title


def test_codes_are_stable_words_and_unique() -> None:
    codes = [kind.code for kind in ALL if issubclass(kind, EarwitnessError | errors.AppError)]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)


def test_every_code_is_in_the_documentation(docs: Any) -> None:
    text = (docs / "api.md").read_text()
    assert [kind.__name__ for kind in ALL if f"`{kind.code}`" not in text] == []  # type: ignore[attr-defined]


def test_every_code_for_what_the_framework_refuses_is_in_the_documentation(docs: Any) -> None:
    text = (docs / "api.md").read_text()
    assert [code for code in CODE_BY_STATUS.values() if f"`{code}`" not in text] == []


def test_a_body_that_is_no_text_is_a_bad_request(client: TestClient) -> None:
    answer = client.post("/v1/webhooks", content=b'{"url": "\xff"}', headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_a_failed_run_has_the_status_of_its_failure() -> None:
    failed = errors.RunFailedError("m", failure_code="run_timeout", analysis_id="i")
    assert errors.status_and_title(failed)[0] == 504
    unknown = errors.RunFailedError("m", failure_code="of a later version", analysis_id="i")
    assert errors.status_and_title(unknown)[0] == 500


def test_an_unforeseen_error_is_a_500_without_a_trace(make_client: Callable[..., TestClient]) -> None:
    client = make_client()

    @client.app.get("/boom")  # type: ignore[attr-defined]
    def boom() -> None:
        raise ZeroDivisionError("/etc/secret/path")

    answer = client.get("/boom")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert "secret" not in answer.text and "Traceback" not in answer.text


def test_a_method_that_is_not_allowed_is_told_all_that_are(client: TestClient) -> None:
    answer = client.patch(f"/v1/analysis/{uuid.uuid4()}/evidence")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET")


def test_errors_name_no_path_of_the_store(
    make_client: Callable[..., TestClient], upload: Callable[..., str], tmp_path: Any
) -> None:
    client = make_client(evidence_dir=tmp_path / "store")
    bad = client.post("/v1/analysis/upload", files={"file": ("a.wav", b"no sound")})
    failed = client.post(f"/v1/analysis/{upload(client, 'raise_bug-1.wav')}/run")
    for answer in (bad, failed):
        assert str(tmp_path) not in answer.text and ".part" not in answer.text


def test_a_missing_model_stops_the_service_at_once_with_advice(tmp_path: Any) -> None:
    with pytest.raises(ModelNotFoundError, match="EARWITNESS_MODEL"):
        create_app(Settings(model=tmp_path / "none.onnx", evidence_dir=tmp_path))


def test_a_source_names_the_missing_model(tmp_path: Any) -> None:
    with pytest.raises(ModelNotFoundError):
        OnnxSource(tmp_path / "none.onnx").describe()


def test_making_an_app_starts_nothing(tmp_path: Any) -> None:
    create_app(
        Settings(database_url=f"sqlite:///{tmp_path}/x/a.db", evidence_dir=tmp_path / "e"), detector=DummySource()
    )
    assert list(tmp_path.iterdir()) == []
