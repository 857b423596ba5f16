"""The pool of workers: whenever a worker dies, whoever waits for it hears of it, and the next task is done."""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.runs.workers import WorkerPool
from earwitness.errors import RunTimeoutError, WorkerCrashError

TAKEN_WITHIN_S = 3.0  # two processes start within a second, on a busy machine
PATIENCE_S = 60.0
KILLS = 40


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[WorkerPool]:
    pool = WorkerPool(
        None, workers=2, memory_bytes=2 << 30, readable=(tmp_path,), taken_within_s=TAKEN_WITHIN_S, stopping_s=2.0
    )
    yield pool
    pool.close()


class TakenToDeath:
    """Ends the worker that takes it, at the point where it holds the lock of the pool; the first `times` of them."""

    def __init__(self, times: int, status: int = 1) -> None:
        self.left = times
        self.status = status

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if self.left:
            self.left -= 1
            return os._exit, (self.status,)
        return str, ("survived",)


@pytest.mark.parametrize("status", [0, 1])
def test_a_task_whose_worker_died_in_taking_it_is_done_by_another(pool: WorkerPool, status: int) -> None:
    assert pool.call(str, TakenToDeath(1, status), timeout_s=PATIENCE_S) == "survived"


class Deadly:
    """Something to `eval`, at which the first `times` workers die after they have taken it."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        self.left -= 1
        return str, ("__import__('os')._exit(1)" if self.left >= 0 else "'survived'",)


def test_a_task_charged_with_the_death_of_its_worker_is_done_once_more(pool: WorkerPool) -> None:
    """What a worker had just done is charged with what it dies of next, where its result is not read yet."""
    assert pool.call(eval, Deadly(1), timeout_s=PATIENCE_S) == "survived"
    twice = Deadly(2)
    with pytest.raises(WorkerCrashError, match="died"):
        pool.call(eval, twice, timeout_s=PATIENCE_S)
    assert twice.left == 0


def test_what_the_others_were_at_is_begun_again(pool: WorkerPool) -> None:
    """The dead one holds the lock by which results are sent and tasks are taken."""
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(pool.call, time.sleep, 3.0, timeout_s=PATIENCE_S)
        time.sleep(1.0)  # until it is under way
        assert pool.call(str, TakenToDeath(1), timeout_s=PATIENCE_S) == "survived"
        assert other.result(PATIENCE_S) is None


def test_a_task_that_no_worker_survives_taking_fails_and_the_next_one_works(pool: WorkerPool) -> None:
    with pytest.raises(WorkerCrashError):
        pool.call(str, TakenToDeath(9), timeout_s=PATIENCE_S)
    assert pool.call(str, "fine", timeout_s=PATIENCE_S) == "fine"


def test_a_time_limit_holds_where_a_dead_worker_has_the_lock_by_which_it_is_kept(pool: WorkerPool) -> None:
    with ThreadPoolExecutor(1) as threads:
        began_s = time.monotonic()
        late = threads.submit(pool.call, time.sleep, 3_600.0, timeout_s=1.0)
        time.sleep(0.5)
        pool.call(str, TakenToDeath(1), timeout_s=PATIENCE_S)
        with pytest.raises(RunTimeoutError):
            late.result(PATIENCE_S)
    assert time.monotonic() - began_s < PATIENCE_S


def workers() -> list[int]:
    """The worker processes of this very process, and nobody else's on this machine: children of its fork server."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parents[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
    return [pid for pid, parent in parents.items() if parents.get(parent) == os.getpid()]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_of_workers_killed_at_random_every_task_ends(tmp_path: Path) -> None:
    """Tasks as short as can be, so that workers are nearly always taking one or sending a result."""
    pool = WorkerPool(
        None, workers=2, memory_bytes=2 << 30, readable=(tmp_path,), taken_within_s=TAKEN_WITHIN_S, stopping_s=2.0
    )
    random_ = random.Random(20261124)
    kills = 0

    def kill() -> None:
        nonlocal kills
        while kills < KILLS:
            time.sleep(random_.uniform(0.0, 1.5))  # new ones need some tenths of a second to start
            if alive := workers():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(random_.choice(alive), signal.SIGKILL)
                    kills += 1

    def call(_thread: int) -> list[bool]:
        done = []
        while kills < KILLS:
            try:
                done.append(pool.call(str, len(done), timeout_s=5.0) == str(len(done)))
            except (WorkerCrashError, RunTimeoutError):
                done.append(False)
        return done

    killer = threading.Thread(target=kill)
    killer.start()
    with ThreadPoolExecutor(4) as threads:
        done = [ended for ends in threads.map(call, range(4)) for ended in ends]
    killer.join()
    assert pool.call(str, "fine", timeout_s=PATIENCE_S) == "fine"
    pool.close()
    print(f"{len(done)} tasks ended, {done.count(False)} of them with an error; {kills} workers killed")
    assert done.count(True) > len(done) / 2
