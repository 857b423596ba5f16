"""Uploads and copies on their way: a folder for each process; its end is noticed, its start is not disturbed."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.evidence.spool import ROOM_BYTES, Spool

STARTS = 300
AT_ONCE = 8


def started(root: Path) -> bool:
    spool = Spool(root)
    try:
        spool.new_path().write_bytes(b"1")  # it is there, and stays
        return True
    finally:
        spool.close()


def test_processes_that_start_at_the_same_time_leave_each_other_alone(tmp_path: Path) -> None:
    """Threads stand for them: a lock belongs to whoever opened its file."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        assert all(threads.map(started, [tmp_path] * STARTS))


def test_the_folder_of_a_living_process_stays_and_that_of_a_dead_one_goes(tmp_path: Path) -> None:
    dead = tmp_path / "spool" / "dead"
    dead.mkdir(parents=True)
    (dead / "left").write_bytes(b"1")
    first = Spool(tmp_path)
    second = Spool(tmp_path)
    assert first.folder.is_dir() and not dead.exists()
    first.close()
    second.close()
    assert [path.name for path in (tmp_path / "spool").iterdir()] == [".lock"]


def handed_to_the_kernel_bytes() -> int:
    """By this process's writing calls, to whatever."""
    counters = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counters["wchar"])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="needs Linux's accounts of what a process writes")
def test_to_ask_for_room_writes_next_to_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    before = handed_to_the_kernel_bytes()
    for _ in range(20):
        spool.check_room()
    assert handed_to_the_kernel_bytes() - before < 1 << 20  # other threads of the tests may write
    assert [path.name for path in spool.folder.iterdir()] == [".lock"]
    spool.close()


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs the unshare command")
@pytest.mark.parametrize(("size_bytes", "room"), [(ROOM_BYTES // 2, False), (ROOM_BYTES * 2, True)])
def test_room_is_what_the_file_system_has_left(tmp_path: Path, size_bytes: int, room: bool) -> None:
    script = """
import sys
from pathlib import Path
from app.evidence.spool import Spool

spool = Spool(Path(sys.argv[1]))
try:
    spool.check_room()
    print("room")
except OSError as error:
    print(error.strerror)
"""
    mounted = (
        f"mount -t tmpfs -o size={size_bytes} none {tmp_path} && exec {sys.executable} -c '{script}' {tmp_path}"
    )
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", mounted]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no name space to be had: {done.stderr.strip()}")
    assert done.stdout.strip() == ("room" if room else "No space left on device"), done.stderr
