"""What a scan costs beside the listening itself: a table of a million rows gone through again, and as Parquet.

    python benchmarks/bench_bulk.py [--rows 1000000] [--files 2000]

Each figure comes from a process of its own, so that the peak of memory is that of the work named.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from earwitness.dummy import DummyDetector
from earwitness.parquet import write_parquet
from earwitness.scan import ScanOptions, ScanSummary, scan
from earwitness.score_table import SQL_TYPES, ScoreRow, ScoreTable

IDENTITY = {"model_version": "dummy-1"}
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def names(count: int) -> Iterator[Path]:
    for number in range(count):
        yield Path(f"/srv/recordings/{number // 1000:04}/call-2026-11-24-{number:07}.wav")


def fill(table: Path, rows: int) -> None:
    with ScoreTable(table, IDENTITY) as scores:
        for path in names(rows):
            scores.write(ScoreRow(str(path), SHA256, 12.5, -1.25, -0.8, 0.31, "AUTHENTIC"))


def go_on(table: Path, rows: int) -> ScanSummary:
    return scan(names(rows), table, DummyDetector, identity=IDENTITY)


def scan_files(folder: Path, files: int) -> ScanSummary:
    paths = [folder / f"{number}.wav" for number in range(files)]
    for path in paths:
        path.write_bytes(b"x")
    return scan(paths, folder / "files.csv", DummyDetector, identity=IDENTITY, options=ScanOptions(jobs=2))


def as_parquet(table: Path) -> None:
    write_parquet(table, table.with_suffix(".parquet"), columns=SQL_TYPES, notes=IDENTITY)


def measured(queue: "multiprocessing.Queue[tuple[float, float, int]]", work: Callable[[], object]) -> None:
    before, started = time.process_time(), time.perf_counter()
    work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    queue.put((time.perf_counter() - started, time.process_time() - before, peak))


def told(what: str, count: int, work: Callable[[], object]) -> None:
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[tuple[float, float, int]] = context.Queue()
    process = context.Process(target=measured, args=(queue, work))
    process.start()
    wall_s, cpu_s, peak_kib = queue.get()
    process.join()
    print(
        f"  {what:52} {wall_s:7.1f} s  {1e6 * cpu_s / count:6.1f} us of processor each  {peak_kib / 1024:5.0f} MiB"
    )


def nothing() -> None:
    pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=2_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        table = Path(name) / "s.csv"
        print(f"bulk: {chosen.rows} rows; memory is the peak of the process, first of one that does nothing")
        told("nothing", chosen.rows, nothing)
        told("write the table row by row", chosen.rows, partial(fill, table, chosen.rows))
        told("a scan that finds every row already there", chosen.rows, partial(go_on, table, chosen.rows))
        told("the table as Parquet", chosen.rows, partial(as_parquet, table))
        sizes = [path.stat().st_size / 1e6 for path in (table, table.with_suffix(".parquet"))]
        print(f"  CSV {sizes[0]:.0f} MB, Parquet {sizes[1]:.1f} MB")
        deed = f"{chosen.files} files through 2 workers that listen to nothing"
        told(deed, chosen.files, partial(scan_files, Path(name), chosen.files))


if __name__ == "__main__":
    main()
