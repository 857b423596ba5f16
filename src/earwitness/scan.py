"""Thousands of recordings to one table, in worker processes that may crash, hang or run out of memory.

    scan(recordings, Path("scores.csv"), partial(OnnxAudioDetector, model),
         identity={"model_version": "1"}, options=ScanOptions(jobs=2))

Each recording is judged in a process of its own kind (pebble): one that takes too long is killed, one that dies
is replaced, and either way the recording gets a row with an error. Rows are in the order of the recordings.
"""

import multiprocessing
import resource
import signal
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from earwitness.detector import Detector, DetectorInput
from earwitness.errors import EarwitnessError, RunTimeoutError, UnreadableMediaError, WorkerCrashError
from earwitness.model_spec import file_sha256
from earwitness.score_table import ScoreRow, ScoreTable

MakeDetector = Callable[[], Detector]
"""Called once in every worker, so it must survive pickling."""

_Waiting: TypeAlias = "deque[tuple[str, ProcessFuture[ScoreRow]]]"

LOOK_AHEAD_PER_JOB = (
    16  # recordings under way or waiting to be written, so that one long one does not stop the rest
)
WORKER_MEMORY_BYTES = 6 << 30  # address space; ONNX Runtime reserves a good deal that it never touches
DEFAULT_TIMEOUT_S = 1800.0  # a six-hour recording on a slow machine


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
    with ScoreTable(out, identity) as table:
        already_there = 0
        waiting: _Waiting = deque()
        pool = ProcessPool(
            max_workers=options.jobs,
            initializer=_start_worker,
            initargs=(make_detector, options.memory_bytes),
            context=multiprocessing.get_context("spawn"),  # threads of the parent survive no fork
        )
        try:
            for path in map(str, recordings):
                if not table.done.add(path):  # it has its row, or is on its way to it
                    already_there += 1
                    report(1)
                    continue
                waiting.append((path, pool.schedule(_judge, args=[path], timeout=options.timeout_s)))
                if len(waiting) >= options.jobs * LOOK_AHEAD_PER_JOB:
                    _settle(waiting, table, counts, options)
                    report(1)
            while waiting:
                _settle(waiting, table, counts, options)
                report(1)
            pool.close()  # type: ignore[no-untyped-call]
        finally:
            # After an interruption: what was under way is done by the next scan.
            pool.stop()  # type: ignore[no-untyped-call]
            pool.join()
    return ScanSummary(recordings=already_there + sum(counts.values()), already_there=already_there, **counts)


def _settle(
    waiting: _Waiting,
    table: ScoreTable,
    counts: dict[str, int],
    options: ScanOptions,
) -> None:
    """Wait for the oldest recording and write its row."""
    path, future = waiting.popleft()
    failure = future.exception()
    row = future.result() if failure is None else ScoreRow(path, error=_described(failure, options))
    table.write(row)
    counts["failed" if row.error else "abstained" if row.abstention else "judged"] += 1


def _described(failure: BaseException, options: ScanOptions) -> str:
    match failure:
        case FutureTimeoutError():
            return f"{RunTimeoutError.code}: took longer than {options.timeout_s:g} s and was stopped"
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
