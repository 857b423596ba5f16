"""The pool of workers: whenever a worker dies, whoever waits for it hears of it, and the next task is done."""

import contextlib
import errno
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

from app.errors import RunInterruptedError
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


SLEEP = "[__import__('time').sleep({}), __import__('os').getpid()][1]"


def test_what_another_is_at_goes_on(pool: WorkerPool) -> None:
    """The dead one held the lock of its own pool alone."""
    others = set(workers())  # of pools of other tests of this process
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(pool.call, eval, SLEEP.format(3.0), timeout_s=PATIENCE_S)
        until(lambda: len(set(workers()) - others) == 2)
        time.sleep(1.0)  # until it is under way
        before = set(workers()) - others
        assert pool.call(str, TakenToDeath(1), timeout_s=PATIENCE_S) == "survived"
        assert other.result(PATIENCE_S) in before
        assert len(set(workers()) & before) == 1


def test_all_start_with_the_first_task_and_whoever_comes_later_waits(pool: WorkerPool) -> None:
    others = set(workers())
    assert pool.call(str, "first", timeout_s=PATIENCE_S) == "first"
    until(lambda: len(set(workers()) - others) == 2)
    with ThreadPoolExecutor(6) as threads:
        calls = [threads.submit(pool.call, eval, SLEEP.format(0.5), timeout_s=PATIENCE_S) for _ in range(6)]
        assert {call.result(PATIENCE_S) for call in calls} == set(workers()) - others


def test_of_those_that_wait_the_first_is_served_first(pool: WorkerPool) -> None:
    order: list[int] = []
    others = set(workers())
    pool.call(str, "first", timeout_s=PATIENCE_S)
    until(lambda: len(set(workers()) - others) == 2)
    time.sleep(1.0)  # both are ready

    def call(number: int) -> None:
        pool.call(time.sleep, 0.5, timeout_s=PATIENCE_S)
        order.append(number)

    with ThreadPoolExecutor(8) as threads:
        calls = []
        for number in range(8):
            calls.append(threads.submit(call, number))
            time.sleep(0.05)
        for one in calls:
            one.result(PATIENCE_S)
    assert all(abs(place - number) <= 1 for place, number in enumerate(order)), (
        order
    )  # two are under way at a time


def test_whoever_waits_hears_that_the_pool_is_closed(pool: WorkerPool) -> None:
    others = set(workers())
    with ThreadPoolExecutor(5) as threads:
        calls = [threads.submit(pool.call, time.sleep, 3_600.0, timeout_s=7_200.0) for _ in range(5)]
        until(lambda: len(set(workers()) - others) == 2)
        time.sleep(0.5)
        pool.close()
        for call in calls:
            with pytest.raises(RunInterruptedError):
                call.result(PATIENCE_S)
    until(lambda: not set(workers()) - others)
    with pytest.raises(RunInterruptedError):
        pool.call(str, "late", timeout_s=PATIENCE_S)


def until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_a_task_that_no_worker_survives_taking_fails_and_the_next_one_works(pool: WorkerPool) -> None:
    with pytest.raises(WorkerCrashError):
        pool.call(str, TakenToDeath(9), timeout_s=PATIENCE_S)
    assert pool.call(str, "fine", timeout_s=PATIENCE_S) == "fine"


def test_a_time_limit_holds_where_a_dead_worker_has_the_lock_by_which_it_is_kept(pool: WorkerPool) -> None:
    began_s = time.monotonic()
    with pytest.raises(RunTimeoutError):
        pool.call(eval, HOLDING_THE_LOCK, timeout_s=1.0)
    assert time.monotonic() - began_s < PATIENCE_S
    assert pool.call(str, "fine", timeout_s=PATIENCE_S) == "fine"


def test_whoever_comes_after_a_death_has_a_worker_that_is_ready(tmp_path: Path) -> None:
    """And not the one that starts in the dead one's place."""
    pool = WorkerPool(None, workers=3, memory_bytes=2 << 30, readable=(tmp_path,), stopping_s=2.0)
    try:
        others = set(workers())
        pool.call(str, "first", timeout_s=PATIENCE_S)
        until(lambda: len(set(workers()) - others) == 3)
        before = set(workers()) - others
        with pytest.raises(RunTimeoutError):
            pool.call(time.sleep, 3_600.0, timeout_s=0.5)
        assert pool.call(os.getpid, timeout_s=PATIENCE_S) in before
        until(lambda: len(set(workers()) - others) == 3)
    finally:
        pool.close()


def test_a_task_that_is_given_up_leaves_no_worker_busy(pool: WorkerPool) -> None:
    def meanwhile() -> None:
        raise OSError("the database is away")

    others = set(workers())
    with pytest.raises(OSError, match="away"):
        pool.call(time.sleep, 3_600.0, timeout_s=7_200.0, meanwhile=meanwhile)
    for _ in range(4):
        assert pool.call(str, "fine", timeout_s=PATIENCE_S) == "fine"
    until(lambda: len(set(workers()) - others) == 2)


def test_a_worker_that_breaks_its_pipe_is_gone_at_once(pool: WorkerPool) -> None:
    """It sends what is no reply and goes on by itself."""
    others = set(workers())
    rogue = (
        "[end.send_bytes(b'nonsense') for end in __import__('gc').get_objects() "
        "if type(end).__name__ == 'ReplyConnection' and not end.closed and end.writable]"
        " and __import__('time').sleep(3600)"
    )
    pool.call(str, "first", timeout_s=PATIENCE_S)
    until(lambda: len(set(workers()) - others) == 2)
    before = set(workers()) - others
    with pytest.raises(WorkerCrashError):  # at both attempts, and each time by another
        pool.call(eval, rogue, timeout_s=PATIENCE_S)
    until(lambda: not before & set(workers()))
    assert pool.call(str, "fine", timeout_s=PATIENCE_S) == "fine"


# Pebble's own thread, which sees to the workers, may meet the same error before the call does, and dies of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_where_no_worker_can_be_started_the_call_says_so_and_the_next_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = WorkerPool(None, workers=2, memory_bytes=2 << 30, readable=(tmp_path,))
    try:
        with monkeypatch.context() as patch:
            patch.setattr("pebble.pool.process.WorkerManager.create_workers", none_left)
            with pytest.raises(WorkerCrashError):
                pool.call(str, "in vain", timeout_s=PATIENCE_S)
        assert pool.call(str, "fine", timeout_s=PATIENCE_S) == "fine"
    finally:
        pool.close()


def none_left(_manager: object) -> None:
    raise OSError(errno.EMFILE, "Too many open files")


HOLDING_THE_LOCK = (
    "[[end.mutex.acquire() for end in __import__('gc').get_objects() if type(end).__name__ == 'WorkerChannel'],"
    " __import__('time').sleep(3600)]"
)


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
