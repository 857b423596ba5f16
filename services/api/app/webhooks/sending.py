"""One attempt to deliver a message: to a checked address, without proxies or redirects, within one time limit.

outcome = post(target, headers, body, timeout_s=15)       # never raises for what the other side does
"""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from app.webhooks.addresses import PORTS, Target

LONGEST_RETRY_AFTER_S = 86_400


@dataclass(frozen=True, slots=True)
class Outcome:
    status: int | None
    """What was answered; None where nothing was."""
    error: str | None
    """In words, where it is no success."""
    retry_after_s: int = 0

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class _Connection(http.client.HTTPConnection):
    """To the address that was checked, whatever the host's name says by now; the name is for TLS and `Host`."""

    def __init__(self, target: Target, timeout_s: float) -> None:
        super().__init__(target.host, target.port, timeout=timeout_s)
        self.default_port = PORTS[target.scheme]
        self._target = target
        self._timeout_s = timeout_s
        self.was_cut = False

    def connect(self) -> None:
        target = self._target
        self.sock = socket.create_connection((target.address, target.port), self._timeout_s)
        if target.scheme == "https":
            secured = ssl.create_default_context().wrap_socket(
                self.sock, server_hostname=target.host, do_handshake_on_connect=False
            )
            self.sock = secured  # before the handshake, so that the time limit reaches it too
            secured.do_handshake()

    def cut(self) -> None:
        """From another thread: whatever is waited for ends now."""
        self.was_cut = True
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


def post(target: Target, headers: Mapping[str, str], body: bytes, *, timeout_s: float) -> Outcome:
    connection = _Connection(target, timeout_s)
    limit = threading.Timer(timeout_s, connection.cut)  # a socket's own limit starts again with every byte
    limit.daemon = True
    limit.start()
    try:
        connection.request("POST", target.path, body=body, headers={**headers, "Connection": "close"})
        answer = connection.getresponse()
        if connection.was_cut:  # half an answer that ends looks like a short one
            raise TimeoutError
    except (OSError, http.client.HTTPException) as error:
        if connection.was_cut or isinstance(error, TimeoutError):
            return Outcome(None, f"no answer within {timeout_s:g} s")
        return Outcome(None, f"{type(error).__name__}: {error}"[:200])
    finally:
        limit.cancel()
        connection.close()
    if 200 <= answer.status < 300:
        return Outcome(answer.status, None)
    moved = " (redirects are not followed)" if 300 <= answer.status < 400 else ""
    return Outcome(answer.status, f"answered {answer.status}{moved}", _seconds(answer.headers.get("Retry-After")))


def _seconds(retry_after: str | None) -> int:
    """Of a Retry-After in seconds; a date, which is rare, is not waited for."""
    text = (retry_after or "").strip()
    plain = text.isascii() and text.isdigit() and len(text) < 10  # a superscript two is a digit, and no number
    return min(int(text), LONGEST_RETRY_AFTER_S) if plain else 0
