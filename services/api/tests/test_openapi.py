"""Everywhere: the OpenAPI document is complete, has examples, and does not change unnoticed."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.application import create_app
from app.detectors.source import DummySource
from app.openapi import document_text
from app.settings import Settings

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(document_text(create_app(Settings(), detector=DummySource())))
    return parsed


def test_the_committed_document_is_the_service_s(document: dict[str, Any], docs: Path) -> None:
    committed = json.loads((docs / "openapi.json").read_text())
    assert committed == document, "if the change is meant: python -m app.openapi > docs/openapi.json"


def test_every_operation_is_described_and_problems_are_documented(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            assert operation["summary"], path
            for status, answer in operation["responses"].items():
                if int(status) >= 400 and path != "/ready":
                    assert "application/problem+json" in answer["content"], (path, status)


def test_answers_and_problems_have_examples(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["AnalysisView"]["examples"] and schemas["Problem"]["examples"]


def test_every_path_is_in_the_documentation(document: dict[str, Any], docs: Path) -> None:
    text = (docs / "api.md").read_text().replace("{id}", "{analysis_id}")
    missing = [
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
        if f"{method.upper()} {path}" not in text
    ]
    assert missing == []
