"""The running service does what its OpenAPI document says, for whatever Schemathesis thinks of."""

from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st

RECORDINGS = "audio/*"
"""The media type of the form's file in the document; random bytes would only ever test the refusal."""


@pytest.fixture(scope="module")
def service(make_service: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, wav: bytes) -> Any:
    schemathesis.openapi.media_type(RECORDINGS, st.just(wav))
    service = make_service(tmp_path_factory.mktemp("schemathesis")).start()
    yield service
    service.kill()


@pytest.fixture(scope="module")
def document(service: Any) -> Any:
    config = schemathesis.Config.from_dict(
        {
            "generation": {"mode": "all", "allow-x00": True},
            "operations": [
                {
                    # A name without the extension of a recording, or a field with control characters, is refused.
                    "include-operation-id": "upload_v1_analysis_upload_post",
                    "checks": {"positive_data_acceptance": {"expected-statuses": [201, 415, 422]}},
                },
                {
                    # Whether a report or a run can be had depends on the analysis's state.
                    "include-path-regex": "/(report|run)$",
                    "checks": {"positive_data_acceptance": {"expected-statuses": [200, 202, 404, 406, 409]}},
                },
            ],
        }
    )
    return schemathesis.openapi.from_url(f"{service.url}/openapi.json", config=config)


api = schemathesis.pytest.from_fixture("document")


def check(case: Any) -> None:
    case.call_and_validate()


@api.parametrize()
@hypothesis.settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck))
def test_all_checks_hold(case: Any) -> None:
    check(case)


@pytest.mark.slow
@api.parametrize()
@hypothesis.settings(max_examples=300, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
def test_all_checks_hold_for_many_examples(case: Any) -> None:
    check(case)
