"""RFC 9457 problem details: how every error leaves the service.

    {"type": "urn:earwitness:problem:run_under_way", "title": "A run is under way", "status": 409,
     "detail": "...", "code": "run_under_way", "request_id": "..."}

`code` is stable and meant for programs, `detail` for people. Errors that are nobody's input (5xx) tell their table
title only: what went wrong inside, and where, stands in the log.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route

from app.database import DATABASE_AWAY
from app.errors import (
    INTERNAL_CODE,
    AppError,
    DatabaseUnavailableError,
    NotAuthenticatedError,
    QueueFullError,
    RunFailedError,
    RunWaitError,
    ShuttingDownError,
    TooManyRequestsError,
    code_of,
    status_and_title,
)
from earwitness.errors import EarwitnessError

PROBLEM_MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 30
CODE_BY_STATUS = {404: "not_found", 405: "method_not_allowed", 400: "bad_request"}
"""For what the framework itself refuses."""
METHOD_NOT_ALLOWED = 405
CLIENT_GONE = 499  # nobody reads it; the access log shows it

log = structlog.get_logger(__name__)


class FieldProblem(BaseModel):
    where: Annotated[str, Field(examples=["query.limit"])]
    message: str


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:earwitness:problem:analysis_not_found",
                    "title": "No such analysis",
                    "status": 404,
                    "detail": "there is no analysis 2f1b6a52-6b0e-4c57-9d43-0f1c9a3f7e11",
                    "code": "analysis_not_found",
                    "request_id": "7d0c8f1e2b3a4d5c",
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    code: Annotated[str, Field(description="Stable; docs/api.md lists them.")]
    request_id: str | None = None
    analysis_id: Annotated[str | None, Field(description="The analysis whose run failed, or goes on.")] = None
    errors: Annotated[list[FieldProblem] | None, Field(description="What is wrong with which parameter.")] = None


def problem_response(
    request: Request,
    *,
    status: int,
    title: str,
    detail: str,
    code: str,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> JSONResponse:
    body = {
        "type": f"urn:earwitness:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": getattr(request.state, "request_id", None),
        **more,
    }
    return JSONResponse(body, status, headers=headers, media_type=PROBLEM_MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: these statuses answer with a problem."""
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    limited = {429} if 401 in statuses else set()  # whoever is known has quotas
    return {
        status: {"description": TITLES[status], "content": content} for status in sorted({*statuses, *limited})
    }


TITLES = {
    400: "The request is malformed, or not for this host",
    401: "Not authenticated",
    403: "The user's role does not permit this, or another web site asks",
    404: "No such analysis",
    406: "No representation that the Accept header allows",
    408: "Nothing more came of the upload",
    409: "Not in this state",
    410: "The evidence was erased",
    413: "The body, or the upload, is too large",
    415: "No multipart form, or no recording that can be decoded",
    422: "A parameter, form field or recording is wrong",
    429: "A quota of the user is used up; `Retry-After` says when there will be more",
    500: "The service failed; the log says how",
    503: "Not now: stopping, too busy, without its database or a model",
    504: "The run exceeded its time limit and was stopped",
    507: "The evidence store is full",
}


def install(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    app.add_exception_handler(AppError, _known)
    app.add_exception_handler(EarwitnessError, _known)
    for kind in DATABASE_AWAY:
        app.add_exception_handler(kind, _database_away)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, partial(_refused_by_framework, routers))
    app.add_exception_handler(ClientDisconnect, _client_gone)


def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, AppError | EarwitnessError)
    return refusal(request, error)


def internal_error(request: Request) -> Response:
    """For what nothing else explains; the caller logs it."""
    detail = "an unforeseen error; report the request_id"
    return problem_response(request, status=500, title="Internal error", detail=detail, code=INTERNAL_CODE)


def refusal(request: Request, error: AppError | EarwitnessError) -> Response:
    status, title = status_and_title(error)
    headers: dict[str, str] = {}
    if isinstance(error, NotAuthenticatedError):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, QueueFullError | ShuttingDownError | DatabaseUnavailableError):
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if isinstance(error, TooManyRequestsError):
        headers.update(error.headers)
    # Our own words are made for the client; a library's message on a fault of the host may name a path.
    detail = str(error) if isinstance(error, AppError) or status < 500 else title
    if status >= 500:
        log.error("request_failed", code=code_of(error), detail=str(error), exc_info=error)
    more = {"analysis_id": error.analysis_id} if isinstance(error, RunFailedError | RunWaitError) else {}
    return problem_response(
        request, status=status, title=title, detail=detail, code=code_of(error), headers=headers, **more
    )


def _database_away(request: Request, error: Exception) -> Response:
    away = DatabaseUnavailableError("the database is not available for the moment: try again later")
    away.__cause__ = error  # for the log
    return refusal(request, away)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [{"where": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()]
    return problem_response(
        request,
        status=422,
        title="A parameter is wrong",
        detail="; ".join(f"{e['where']}: {e['message']}" for e in errors),
        code="invalid_request",
        errors=errors,
    )


def _refused_by_framework(routers: Sequence[APIRouter], request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, AppError):  # ours, raised while the framework read the body
        return refusal(request, error.__cause__)
    code = CODE_BY_STATUS.get(error.status_code, "http_error")
    headers = dict(error.headers or {})
    if error.status_code == METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_methods_here(routers, request))) or headers["Allow"]
    return problem_response(
        request,
        status=error.status_code,
        title=error.detail,
        detail=f"{request.method} {request.url.path}: {error.detail}",
        code=code,
        headers=headers,
    )


def _methods_here(routers: Sequence[APIRouter], request: Request) -> set[str]:
    """Of every route with this path; the framework itself names those of the first one only."""
    routes = [route for router in routers for route in router.routes if isinstance(route, Route)]
    return {
        method
        for route in routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }


def _client_gone(_request: Request, _error: Exception) -> Response:
    log.info("client_gone")
    return Response(status_code=CLIENT_GONE)
