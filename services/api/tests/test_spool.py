"""Uploads and copies on their way: a folder for each process; its end is noticed, its start is not disturbed."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from app.evidence.spool import Spool

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
