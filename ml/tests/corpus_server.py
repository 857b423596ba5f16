"""A data set's site in miniature: a folder over real HTTP on this machine, with byte ranges, and with faults on order.

with serve(folder) as site:
    site.faults["LA.zip"] = [Cut(after=100)]        # the first request breaks off after 100 bytes
    fetch(f"{site.url}/LA.zip", ...)
    site.requests                                   # [Request("LA.zip", None, 200), Request("LA.zip", 100, 206)]
"""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


@dataclass(frozen=True)
class Cut:
    """Announce the whole file, send this many bytes of what was asked for, hang up."""

    after: int


@dataclass(frozen=True)
class Refuse:
    status: int


@dataclass(frozen=True)
class Request:
    name: str
    start: int | None
    """First byte of the range that was asked for."""
    status: int


@dataclass
class Site:
    url: str
    folder: Path
    ranges: bool = True
    tags: bool = True
    faults: dict[str, list[Cut | Refuse]] = field(default_factory=dict)
    """By file name; each request takes one."""
    requests: list[Request] = field(default_factory=list)


@contextmanager
def serve(folder: Path) -> Iterator[Site]:
    site = Site("", folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, site)

        def log_message(self, *args: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(handler: BaseHTTPRequestHandler, site: Site) -> None:
    name = unquote(handler.path).lstrip("/")
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    start = int(asked[1]) if asked else None
    waiting = site.faults.get(name, [])
    fault = waiting.pop(0) if waiting else None
    path = site.folder / name
    if isinstance(fault, Refuse) or not path.is_file():
        status = fault.status if isinstance(fault, Refuse) else 404
        site.requests.append(Request(name, start, status))
        handler.send_error(status)
        return
    content = path.read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    resumes = start is not None and site.ranges and handler.headers.get("If-Range", tag) == tag
    if resumes and start is not None and start >= len(content):
        site.requests.append(Request(name, start, 416))
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{len(content)}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    status = 206 if resumes else 200
    body = content[start:] if resumes else content
    site.requests.append(Request(name, start, status))
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    if resumes:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    if site.tags:
        handler.send_header("ETag", tag)
    handler.end_headers()
    handler.wfile.write(body[: fault.after] if isinstance(fault, Cut) else body)
