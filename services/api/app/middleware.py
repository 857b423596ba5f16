"""What surrounds every request: its id, log line and metrics, a limit on its body, security headers, the last resort.

Plain ASGI, so that uploads stream through untouched.
"""

import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import tracing
from app.errors import BodyTooLargeError
from app.metrics import Metrics
from app.problems import internal_error, refusal

REQUEST_ID_HEADER = "X-Request-ID"
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""A caller's id is kept if it is one; anything else could break a log line."""
SERVER_ERRORS = 500
MAX_BODY_BYTES = 64 << 10
"""The framework holds a body whole before it asks who sent it. A webhook's URL or a hold's reason, each character
written as JSON's longest escape, takes a third of this."""
COUNT_FOR_THEMSELVES = frozenset({"/v1/analysis/upload", "/v1/batches"})
"""Paths whose bodies may be longer: they are read piece by piece, and only once it is known who sends them."""
UNMATCHED = "unmatched"  # one label for all unknown paths: a scanner must not fill the metrics
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "OTHER"  # one label for all unknown methods, for the same reason: a server takes any token for one

SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

log = structlog.get_logger(__name__)


class RequestMiddleware:
    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = request_id
                for name, value in scope["state"].get("quota_headers", {}).items():
                    headers[name] = value
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        limited = scope["path"] not in COUNT_FOR_THEMSELVES
        received = 0

        async def receive_within_limit() -> Message:  # a chunked body declares no length
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if limited and received > MAX_BODY_BYTES and not status:  # what comes after an answer, nobody holds
                raise _too_large()
            return message

        started = time.perf_counter()
        with (
            structlog.contextvars.bound_contextvars(request_id=request_id),
            tracing.span(_method(scope), server=True, parent=Headers(scope=scope), request_id=request_id),
        ):
            try:
                if limited and _declared_length(scope) > MAX_BODY_BYTES:
                    raise _too_large()
                await self._app(scope, receive_within_limit, send_with_headers)
            except BodyTooLargeError as error:  # declared; one that streams ends in the framework's handlers
                await refusal(Request(scope), error)(scope, receive, send_with_headers)
            except Exception:  # the last resort: an error that nothing foresaw is logged and told to nobody
                log.exception("unforeseen_error", method=scope["method"], path=scope["path"])
                if status:
                    raise  # half an answer is out; the server closes the connection
                await internal_error(Request(scope))(scope, receive, send_with_headers)
            finally:
                self._note(scope, status, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path_format", UNMATCHED)
        method = _method(scope)
        tracing.note(
            {"http.request.method": method, "http.route": route, "http.response.status_code": status},
            name=f"{method} {route}",
            failed=status >= SERVER_ERRORS,
        )
        label = method if route != UNMATCHED else "any"
        self._metrics.requests.labels(route, label, str(status)).inc()
        self._metrics.request_seconds.labels(route, label).observe(seconds)
        log.info(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=status,
            ms=round(seconds * 1000, 1),
            user=scope["state"].get("user"),
        )


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in METHODS else OTHER


def _declared_length(scope: Scope) -> int:
    declared = Headers(scope=scope).get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdigit() else 0


def _too_large() -> BodyTooLargeError:
    return BodyTooLargeError(f"the body of this request may have at most {MAX_BODY_BYTES} bytes")
