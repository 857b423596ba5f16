"""Step B3: a client that goes away and a full disk leave no orphan row and no half blob. Real sockets, real disk."""

import resource
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
TAIL = b"\r\n--b--\r\n"


LIMIT_BYTES = 4_000_000


@pytest.fixture(scope="module")
def service(make_service: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One real service for all faults: each must leave it working for the next."""
    service = make_service(tmp_path_factory.mktemp("faults"), EARWITNESS_MAX_UPLOAD_BYTES=str(LIMIT_BYTES))
    yield service.start()
    service.kill()


def stored_files(folder: Path) -> list[str]:
    found = {path.name for path in (folder / "evidence").rglob("*") if path.is_file()}
    return sorted(found - {".lock", "store-id"})


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    return socket.create_connection((parts.hostname, parts.port), timeout=30)


def request_head(length: int | None) -> bytes:
    framing = f"Content-Length: {length}" if length is not None else "Transfer-Encoding: chunked"
    return (
        "POST /v1/analysis/upload HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\n{framing}\r\n\r\n"
    ).encode()


def wait_until(condition: Any) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_client_that_sends_nothing_more_is_told_so_and_leaves_nothing(
    make_service: Any, tmp_path: Path, make_wav: Any
) -> None:
    service = make_service(tmp_path, EARWITNESS_UPLOAD_IDLE_TIMEOUT="0.5").start()
    body = HEAD + make_wav(seconds=200.0) + TAIL
    with connect(service.url) as connection:
        connection.sendall(request_head(len(body)) + body[: len(body) // 2])
        answer = b""
        while received := connection.recv(
            65_536
        ):  # until the service closes it: the connection can't be used again
            answer += received
    assert answer.startswith(b"HTTP/1.1 408 ") and b'"code":"upload_stalled"' in answer
    wait_until(lambda: not stored_files(tmp_path))
    with service.client() as client:
        assert client.get("/v1/analysis").json()["total"] == 0
    service.kill()


def test_a_slow_client_that_goes_on_sending_is_waited_for(make_service: Any, tmp_path: Path, wav: bytes) -> None:
    service = make_service(tmp_path, EARWITNESS_UPLOAD_IDLE_TIMEOUT="2").start()
    body = HEAD + wav + TAIL
    with connect(service.url) as connection:
        connection.sendall(request_head(len(body)))
        for first in range(0, len(body), len(body) // 4 + 1):
            time.sleep(0.7)  # four of them: longer than the idle timeout in all
            connection.sendall(body[first : first + len(body) // 4 + 1])
        assert connection.recv(65_536).startswith(b"HTTP/1.1 201 ")
    service.kill()


def test_a_client_that_disconnects_half_way_leaves_nothing(service: Any, make_wav: Any) -> None:
    body = HEAD + make_wav(seconds=200.0) + TAIL
    with connect(service.url) as connection:
        connection.sendall(request_head(len(body)) + body[: len(body) // 2])
        wait_until(lambda: stored_files(service.folder))  # it is really half way
    wait_until(lambda: not stored_files(service.folder))
    assert service.records() == []


def test_a_client_still_sending_gets_to_see_the_refusal(service: Any) -> None:
    with connect(service.url) as connection:
        connection.sendall(request_head(None))
        for piece in (HEAD, *[b"\x00" * 50_000] * (2 * LIMIT_BYTES // 50_000)):
            connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert stored_files(service.folder) == []


def test_a_full_disk_is_507_and_leaves_nothing(service: Any, make_wav: Any) -> None:
    """The limit on the size of files stands for the disk: the kernel refuses the write just the same."""
    small, large = make_wav(seconds=0.2), make_wav(seconds=200.0)
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
    with service.client() as client:
        full = client.post("/v1/analysis/upload", files={"file": ("a.wav", large)})
        assert (full.status_code, full.json()["code"]) == (507, "storage_full")
        assert stored_files(service.folder) == []
        assert service.records() == []
        assert client.post("/v1/analysis/upload", files={"file": ("a.wav", small)}).status_code == 201
    assert len(stored_files(service.folder)) == 1


@pytest.mark.skipif(
    not Path("/proc/self/ns/mnt").exists() or shutil.which("unshare") is None,
    reason="needs Linux name spaces and the unshare command",
)
def test_a_really_full_disk_is_507_and_leaves_nothing(tmp_path: Path) -> None:
    """The store on a file system of 1 MiB, in a mount name space of its own where the kernel grants one."""
    script = """
import sys
from pathlib import Path
from app.errors import StorageFullError
from app.evidence.store import FolderStore

root = Path(sys.argv[1])
store = FolderStore(root)
store.make_folders()
try:
    with store.receive() as incoming:
        for _ in range(64):
            incoming.write(bytes(65536))
        incoming.finish()
except StorageFullError:
    print("full", [p.name for p in root.rglob("*") if p.is_file()])
"""
    mounted = f"mount -t tmpfs -o size=1m none {tmp_path} && exec {sys.executable} -c '{script}' {tmp_path}"
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", mounted]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no name space to be had: {done.stderr.strip()}")
    assert done.stdout.strip() == "full ['.lock']", done.stderr
