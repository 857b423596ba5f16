"""Thousands of recordings to one table, in worker processes that may crash, hang or run out of memory.

    scan(recordings, Path("scores.csv"), partial(OnnxAudioDetector, model),
         identity={"model_version": "1"}, options=ScanOptions(jobs=2))

Each recording is judged in a process of its own kind (pebble): one that takes too long is killed, one that dies
is replaced, and either way the recording gets a row with an error. Rows are in the order of the recordings.
A pool that breaks altogether is replaced too (`earwitness.pools`).
"""

import multiprocessing
import resource
import signal
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from earwitness.detector import Detector, DetectorInput
from earwitness.errors import EarwitnessError, RunTimeoutError, UnreadableMediaError, WorkerCrashError
from earwitness.model_spec import file_sha256
from earwitness.pools import TAKEN_WITHIN_S, PoolBrokenError, TaskOutlivedError, awaited, dispose
from earwitness.score_table import ScoreRow, ScoreTable

MakeDetector = Callable[[], Detector]
"""Called once in every worker, so it must survive pickling."""

LOOK_AHEAD_PER_JOB = (
    16  # recordings under way or waiting to be written, so that one long one does not stop the rest
)
WORKER_MEMORY_BYTES = 6 << 30  # address space; ONNX Runtime reserves a good deal that it never touches
REPLACED_WITHIN_S = 1.0  # a pool that can't be stopped goes on ending while the next one works
DEFAULT_TIMEOUT_S = 1800.0  # a six-hour recording on a slow machine
PRELOADED = ["earwitness.onnx_detector"]  # imported once by the fork server: a new worker starts in milliseconds


@dataclass(frozen=True, slots=True)
class ScanOptions:
    jobs: int = 1
    timeout_s: float = DEFAULT_TIMEOUT_S
    """For each recording."""
    memory_bytes: int = WORKER_MEMORY_BYTES


@dataclass(frozen=True, slots=True)
class ScanSummary:
    recordings: int
    already_there: int
    judged: int
    abstained: int
    failed: int


def scan(
    recordings: Iterable[Path],
    out: Path,
    make_detector: MakeDetector,
    *,
    identity: Mapping[str, str],
    options: ScanOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> ScanSummary:
    """Judge what `out` has no row for yet; `progress` is told how many more recordings are settled.

    `recordings` is asked for the next ones as they are needed, and only a small hash of each is kept: a million is no
    burden. One that comes a second time counts as already there.

    `identity` is what all rows of a table have in common (model, prior). Raises OutputError where the table can't
    be written; a recording that can't be judged raises nothing.
    """
    options = options or ScanOptions()
    report = progress or (lambda _: None)
    counts = {"judged": 0, "abstained": 0, "failed": 0}
    crew = _Crew(make_detector, options)

    def settle() -> None:
        row = crew.oldest()
        table.write(row)
        counts["failed" if row.error else "abstained" if row.abstention else "judged"] += 1
        report(1)

    with ScoreTable(out, identity) as table:
        already_there = 0
        try:
            for path in map(str, recordings):
                if not table.done.add(path):  # it has its row, or is on its way to it
                    already_there += 1
                    report(1)
                    continue
                crew.take(path)
                if len(crew) >= options.jobs * LOOK_AHEAD_PER_JOB:
                    settle()
            while len(crew):
                settle()
        finally:
            crew.close()  # after an interruption: what was under way is done by the next scan
    return ScanSummary(recordings=already_there + sum(counts.values()), already_there=already_there, **counts)


class _Crew:
    """The worker processes, and the recordings that they are at or that wait for them, in order."""

    def __init__(
        self, make_detector: MakeDetector, options: ScanOptions, taken_within_s: float = TAKEN_WITHIN_S
    ) -> None:
        self._initial = (make_detector, options.memory_bytes)
        self._options = options
        self._taken_within_s = taken_within_s
        self._context = multiprocessing.get_context("forkserver")  # threads of the parent survive no fork
        self._context.set_forkserver_preload(PRELOADED)
        self._pool = self._new_pool()
        self._waiting: deque[_Task] = deque()
        self._alone = 0
        """So many of the oldest were there when a pool broke: one of them broke it, so they are judged one by one."""

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, path: str) -> None:
        if not self._pool.active:
            self._replace()
        self._waiting.append(_Task(path, None if self._alone else self._schedule(path)))

    def oldest(self) -> ScoreRow:
        """The row of the recording that was taken first; waits for it, but not for ever."""
        task = self._waiting[0]
        was_alone = self._alone > 0
        failure = self._awaited(task)
        if isinstance(failure, ProcessExpired):  # it may be charged with what its worker died of at the next one
            task.future = None
            if not self._pool.active:
                self._replace()
            failure = self._awaited(task)
        if isinstance(failure, PoolBrokenError) and not isinstance(failure, TaskOutlivedError) and not was_alone:
            self._replace()
            failure = self._awaited(task)
        self._waiting.popleft()
        if isinstance(failure, PoolBrokenError):
            self._replace()
        elif self._alone:
            self._alone -= 1
            if not self._alone:
                for other in self._waiting:
                    other.future = other.future or self._schedule(other.path)
        if failure is not None:
            return ScoreRow(task.path, error=_described(failure, self._options))
        assert task.future is not None
        return task.future.result()

    def close(self) -> None:
        dispose(self._pool)

    def _awaited(self, task: "_Task") -> BaseException | None:
        """How the oldest ended; None: with a row. PoolBrokenError: it can't end any more."""
        future = task.future = task.future or self._schedule(task.path)

        def look(_running: bool) -> None:
            if not self._pool.active:
                raise PoolBrokenError("the pool ended")

        try:
            failure = awaited(
                future,
                timeout_s=self._options.timeout_s,
                all_busy=self._all_busy,
                look=look,
                taken_within_s=self._taken_within_s,
            )
        except PoolBrokenError as broken:
            return broken
        return PoolBrokenError(str(failure)) if isinstance(failure, BrokenProcessPool) else failure

    def _all_busy(self) -> bool:
        running = sum(task.future is not None and task.future.running() for task in self._waiting)
        return running >= self._options.jobs

    def _schedule(self, path: str) -> "ProcessFuture[ScoreRow]":
        return self._pool.schedule(_judge, args=[path], timeout=self._options.timeout_s)

    def _replace(self) -> None:
        """Give the pool up; what it was at or had not begun is begun anew in another one, one by one."""
        dispose(self._pool, REPLACED_WITHIN_S)
        self._pool = self._new_pool()
        self._alone = len(self._waiting)
        for task in self._waiting:
            if task.future is not None and not _ended_by_itself(task.future):
                task.future = None

    def _new_pool(self) -> ProcessPool:
        return ProcessPool(
            max_workers=self._options.jobs,
            initializer=_start_worker,
            initargs=self._initial,
            context=self._context,
        )


@dataclass(slots=True)
class _Task:
    path: str
    future: "ProcessFuture[ScoreRow] | None"
    """None: not begun yet, because those before it are judged one by one."""


def _ended_by_itself(future: "ProcessFuture[ScoreRow]") -> bool:
    return future.done() and not future.cancelled() and not isinstance(future.exception(), BrokenProcessPool)


def _described(failure: BaseException, options: ScanOptions) -> str:
    match failure:
        case FutureTimeoutError() | TaskOutlivedError():
            return f"{RunTimeoutError.code}: took longer than {options.timeout_s:g} s and was stopped"
        case PoolBrokenError():
            return f"{WorkerCrashError.code}: the worker processes died in taking this recording, twice"
        case ProcessExpired():
            return f"{WorkerCrashError.code}: the worker died with exit code {failure.exitcode}"
        case MemoryError():
            return f"{WorkerCrashError.code}: needed more than {options.memory_bytes >> 20} MiB of memory"
        case _:
            return f"{EarwitnessError.code}: {type(failure).__name__}: {failure}"


class _Worker:
    """The detector of this process; set once, by `_start_worker`."""

    detector: Detector


def _start_worker(make_detector: MakeDetector, memory_bytes: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which stops its workers
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _Worker.detector = make_detector()


def _judge(path: str) -> ScoreRow:
    sha256 = None
    try:
        if Path(path).is_file():  # never wait for a pipe
            sha256 = file_sha256(Path(path))
        output = _Worker.detector.analyze(DetectorInput(Path(path)))
    except EarwitnessError as error:
        return ScoreRow(path, sha256, error=f"{error.code}: {error}")
    except OSError as error:
        return ScoreRow(path, sha256, error=f"{UnreadableMediaError.code}: {error.strerror}")
    return ScoreRow(
        path=path,
        sha256=sha256,
        duration_s=output.duration_s,
        score=output.score,
        llr=output.llr,
        p_fake=output.p_fake,
        verdict=output.verdict.value,
        abstention=" ".join(reason.value for reason in output.abstentions) or None,
    )
