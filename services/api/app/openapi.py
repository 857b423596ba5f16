"""The OpenAPI document: what FastAPI derives from the routes, and the one schema of every error.

python -m app.openapi > docs/openapi.json      # after a change that is meant; a test compares
"""

import json
import sys
from typing import Any

from fastapi import FastAPI

from app.problems import Problem

DESCRIPTION = """Was the speech in a recording made by a machine? A calibrated probability, measurable reasons, and
an honest "can't tell"; the evidence is kept unaltered and every step is on record.

Polarity: a higher score, llr or p_fake means more likely synthetic. Errors are RFC 9457 problem details."""


def install(app: FastAPI) -> None:
    """Have `app` publish its document with the Problem schema that `app.problems.documented` refers to."""
    derive = app.openapi

    def with_problem() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = derive()
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas.update(problem.pop("$defs", {}))
            schemas["Problem"] = problem
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = with_problem  # type: ignore[method-assign]  # the way that FastAPI documents


def document_text(app: FastAPI) -> str:
    """As it is committed: keys in the order of the routes, one trailing newline."""
    return json.dumps(app.openapi(), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    from app.application import create_app  # noqa: PLC0415  it imports this module
    from app.detectors.source import DummySource  # noqa: PLC0415
    from app.settings import Settings  # noqa: PLC0415

    sys.stdout.write(document_text(create_app(Settings(), detector=DummySource())))


if __name__ == "__main__":
    main()
