"""Untrusted media: what a worker process can't do, whatever its decoder was made to try."""

import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.errors import DetectorBugError
from app.runs import confinement
from app.runs.workers import WorkerPool

PATIENCE_S = 60
EARLIER_KERNEL = """
import errno, os, socket, sys
import pyseccomp
from app.runs import confinement

older = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
older.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "landlock_create_ruleset")
older.load()
print(*confinement.missing(), sep="|")
confinement.confine([])
print(len(open("/etc/passwd").read(1)))
try:
    socket.socket()
except PermissionError:
    print("no socket")
"""

LINUX_6_1 = """
import ctypes, os, sys
import landlockpy
landlockpy.abi_version = landlockpy._syscall.abi_version = lambda: 2
if "without" in sys.argv:
    sys.modules["pyseccomp"] = None
from pathlib import Path
from app.runs import confinement

blob = Path(sys.argv[1])
print(*confinement.missing(), sep="|")
confinement.confine([blob.parent])
for empty in (lambda: os.truncate(blob, 0), lambda: os.close(os.open(blob, os.O_RDONLY | os.O_TRUNC))):
    try:
        empty()
    except PermissionError as error:
        print("refused")
for number in confinement.NEWER_CALLS:
    made = ctypes.CDLL(None, use_errno=True).syscall(number, -1, 0, 0, 0, 0, 0)
    print(made, os.strerror(ctypes.get_errno()))
print(blob.read_text())
"""

pytestmark = pytest.mark.skipif(bool(confinement.missing()), reason=f"this machine lacks {confinement.missing()}")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the worker is given, with one file; beside it another folder that it is not given."""
    folder = tmp_path_factory.mktemp("confined") / "evidence"
    folder.mkdir()
    (folder / "blob").write_bytes(b"evidence")
    (folder.parent / "records.db").write_bytes(b"records")
    return folder


@pytest.fixture(scope="module")
def pool(given: Path) -> Iterator[WorkerPool]:
    pool = WorkerPool(None, workers=1, memory_bytes=2 << 30, readable=(given,))
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


Attempt = tuple[Callable[..., Any], tuple[Any, ...]]


@pytest.mark.parametrize(
    "attempt",
    [
        pytest.param(lambda _folder, _port: (Path.read_bytes, (Path("/etc/passwd"),)), id="read a foreign file"),
        pytest.param(lambda folder, _port: (Path.read_bytes, (folder.parent / "records.db",)), id="read the database"),
        pytest.param(lambda folder, _port: (os.listdir, (folder.parent,)), id="list a foreign folder"),
        pytest.param(lambda folder, _port: (Path.write_bytes, (folder / "new", b"x")), id="make a file"),
        pytest.param(lambda folder, _port: (Path.write_bytes, (folder / "blob", b"x")), id="change its input"),
        pytest.param(lambda folder, _port: (Path.unlink, (folder / "blob",)), id="remove its input"),
        pytest.param(lambda _folder, port: (socket.create_connection, (("127.0.0.1", port),)), id="connect"),
        pytest.param(lambda _folder, _port: (socket.socket, (socket.AF_INET, socket.SOCK_DGRAM)), id="send datagrams"),
        pytest.param(lambda _folder, _port: (subprocess.run, (["/bin/true"],)), id="start a program"),
        pytest.param(lambda _folder, _port: (os.fork, ()), id="become two"),
        pytest.param(lambda _folder, _port: (os.kill, (os.getpid(), 0)), id="signal the service"),
        pytest.param(lambda folder, _port: (os.chmod, (folder / "blob", 0o666)), id="open its input to all"),
        pytest.param(lambda folder, _port: (os.chown, (folder / "blob", -1, -1)), id="give its input away"),
        pytest.param(lambda folder, _port: (os.utime, (folder / "blob", (1, 1))), id="date its input back"),
        pytest.param(lambda folder, _port: (os.setxattr, (folder / "blob", "user.x", b"1")), id="mark its input"),
        pytest.param(lambda folder, _port: (os.truncate, (folder / "blob", 0)), id="empty its input"),
        pytest.param(lambda _folder, _port: (os.ftruncate, (1, 0)), id="empty shared memory"),
        pytest.param(lambda _folder, _port: (resource.prlimit, (os.getpid(), resource.RLIMIT_NOFILE, (1024, 4096))),
                     id="limit the service"),
        pytest.param(lambda _folder, _port: (os.sched_setaffinity, (os.getpid(), {0})), id="place the service"),
        pytest.param(lambda _folder, _port: (os.setpriority, (os.PRIO_PROCESS, os.getpid(), 19)),
                     id="put the service last"),
    ],
)  # fmt: skip
def test_a_worker_can_not(
    attempt: Callable[[Path, int], Attempt], pool: WorkerPool, given: Path, listener: socket.socket
) -> None:
    task, arguments = attempt(given, listener.getsockname()[1])
    with pytest.raises(DetectorBugError) as failure:
        pool.call(task, *arguments, timeout_s=PATIENCE_S)
    assert str(failure.value.__cause__).startswith("PermissionError: ")
    assert (given / "blob").read_bytes() == b"evidence"


def test_a_worker_reads_what_it_is_given_and_has_its_limits(pool: WorkerPool, given: Path) -> None:
    assert pool.call(Path.read_bytes, given / "blob", timeout_s=PATIENCE_S) == b"evidence"
    for limit, expected in (
        (resource.RLIMIT_NOFILE, confinement.MAX_OPEN_FILES),
        (resource.RLIMIT_FSIZE, confinement.MAX_WRITTEN_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, 2 << 30),
    ):
        assert pool.call(resource.getrlimit, limit, timeout_s=PATIENCE_S) == (expected, expected)


def test_a_model_that_is_a_link_to_elsewhere_can_be_read(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "models", tmp_path / "shelf"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "graph").write_bytes(b"weights")
    (elsewhere / "secret").write_bytes(b"nothing for workers")
    (folder / "latest").symlink_to(elsewhere / "graph")
    pool = WorkerPool(None, workers=1, memory_bytes=2 << 30, readable=(folder,))
    try:
        assert pool.call(Path.read_bytes, folder / "latest", timeout_s=PATIENCE_S) == b"weights"
        with pytest.raises(DetectorBugError):
            pool.call(Path.read_bytes, elsewhere / "secret", timeout_s=PATIENCE_S)
    finally:
        pool.close()


def test_an_older_kernel_is_told_of_and_gives_what_it_has() -> None:
    done = subprocess.run([sys.executable, "-c", EARLIER_KERNEL], capture_output=True, text=True, check=True)
    told, read, network = done.stdout.splitlines()
    assert told.startswith("Landlock (Linux 5.13") and told.endswith("workers can read every file")
    assert (read, network) == ("1", "no socket")


UNREACHABLE = """
import os
import sys
from pathlib import Path
from app.runs import confinement
if os.getuid() == 0:
    os.setuid(65_534)  # root could reach it
confinement._shut_files([Path(sys.argv[1]) / "inside"])
print("shut in")
"""


def test_a_folder_that_the_user_of_the_service_can_not_reach_is_no_error(tmp_path: Path) -> None:
    """Python may name one: a prefix under the home of who built it, for one."""
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    command = [sys.executable, "-c", UNREACHABLE, str(closed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "shut in\n", done.stderr


@pytest.mark.parametrize("seccomp", ["with", "without"])
def test_a_kernel_that_does_not_keep_files_from_being_emptied(tmp_path: Path, seccomp: str) -> None:
    blob = tmp_path / "blob"
    blob.write_text("evidence")
    command = [sys.executable, "-c", LINUX_6_1, str(blob), seccomp]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    told, *results = done.stdout.splitlines()
    if seccomp == "without":
        assert "workers can start programs, change other processes' limits" in told
        assert "empty evidence" in told
    else:
        assert told == "Landlock of Linux 6.12: workers can send signals"
        assert results[:2] == ["refused"] * 2
        assert results[2:-1] == [f"-1 {os.strerror(errno.EPERM)}"] * len(confinement.NEWER_CALLS)
        assert results[-1] == "evidence"
