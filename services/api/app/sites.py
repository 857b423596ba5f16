"""By which names the service answers, and to which web sites: a browser asks for any page that its user visits.

    app.add_middleware(SiteMiddleware, hosts=own_hosts(settings), origins=settings.cors_origins)

A page whose own name is made to lead here (DNS rebinding) could read answers: that name stands in `Host`. Any other
page can't read them, but it can send forms: the browser tells of it in `Sec-Fetch-Site` and `Origin`, which no page can
change. Programs that are no browsers send neither of the two.
"""

import re
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import AppError, CrossSiteError, HostNotAllowedError
from app.health.probe import ANY_ADDRESS
from app.problems import refusal
from app.settings import ANY_HOST, Settings

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
OPEN_TO_ALL = frozenset({"/health", "/ready", "/version", "/metrics", "/openapi.json"})
"""What needs no user in any mode and tells of no recording: probes and Prometheus ask by whatever address they find."""
READING = frozenset({"GET", "HEAD", "OPTIONS"})
OTHER_SITES = frozenset({"cross-site", "same-site"})  # another port of this machine is the same site


class SiteMiddleware:
    def __init__(self, app: ASGIApp, hosts: Collection[str], origins: Collection[str]) -> None:
        """`hosts` without ports, `origins` as browsers write them; in both `*` allows all."""
        self._app = app
        self._hosts = hosts
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = self._wrong_with(scope) if scope["type"] == "http" else None
        if error is None:
            await self._app(scope, receive, send)
        else:
            await refusal(Request(scope), error)(scope, receive, send)

    def _wrong_with(self, scope: Scope) -> AppError | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if scope["path"] not in OPEN_TO_ALL and not {_without_port(host), ANY_HOST} & {*self._hosts}:
            return HostNotAllowedError(
                "the Host of this request is none of this service: an operator names them in EARWITNESS_ALLOWED_HOSTS"
            )
        if scope["method"] not in READING and self._from_another_site(headers, host):
            return CrossSiteError(
                "a page of another web site asks for this: an operator allows its origin in EARWITNESS_CORS_ORIGINS"
            )
        return None

    def _from_another_site(self, headers: Headers, host: str) -> bool:
        origin = headers.get("origin")
        if origin is not None and {origin, "*"} & {*self._origins}:
            return False
        if headers.get("sec-fetch-site") in OTHER_SITES:
            return True
        # Of older browsers. The scheme is not compared: behind a proxy for TLS, the one of this request is not known.
        return origin is not None and origin.lower().partition("://")[2] != host


def own_hosts(settings: Settings) -> Collection[str]:
    if settings.allowed_hosts:
        return settings.allowed_hosts
    bound = f"[{settings.host}]" if ":" in settings.host else settings.host.lower()
    return LOOPBACK_HOSTS if settings.host in ("", *ANY_ADDRESS) else LOOPBACK_HOSTS | {bound}


def _without_port(host: str) -> str:
    return re.sub(r":[0-9]*$", "", host)  # an IPv6 address ends with a bracket
