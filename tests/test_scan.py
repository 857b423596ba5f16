import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from earwitness.detector import DetectorInput, DetectorOutput, Progress
from earwitness.dummy import MARKER, DummyDetector
from earwitness.finding import Abstention
from earwitness.scan import LOOK_AHEAD_PER_JOB, ScanOptions, ScanSummary, _Crew, scan

MODEL = {"model_version": "dummy-1"}


def make_files(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{number:03}.wav" for number in range(count)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_for_each_in_order(tmp_path: Path) -> None:
    paths = make_files(tmp_path, 20)

    summary = scan(
        paths, tmp_path / "s.csv", partial(DummyDetector, p_fake=0.9), identity=MODEL, options=ScanOptions(jobs=2)
    )

    assert summary == ScanSummary(recordings=20, already_there=0, judged=20, abstained=0, failed=0)
    assert [row["path"] for row in rows(tmp_path / "s.csv")] == [str(path) for path in paths]
    assert {(row["verdict"], row["p_fake"], row["error"]) for row in rows(tmp_path / "s.csv")} == {
        ("DEEPFAKE", "0.900000", "")
    }


def test_abstentions_are_written_in_their_column(tmp_path: Path) -> None:
    make_detector = partial(DummyDetector, abstentions=(Abstention.NO_SPEECH, Abstention.TOO_SHORT))

    summary = scan(make_files(tmp_path, 1), tmp_path / "s.csv", make_detector, identity=MODEL)

    assert summary.abstained == 1
    (row,) = rows(tmp_path / "s.csv")
    assert (row["abstention"], row["p_fake"], row["verdict"]) == ("no_speech too_short", "", "SUSPICIOUS")


def test_nothing_stops_a_scan(tmp_path: Path) -> None:
    """A recording that is missing, unreadable, crashes, hangs or raises costs its own row only."""
    bad = {
        "exit": "worker_crash: the worker died with exit code 70",
        "crash": "worker_crash: the worker died with exit code",
        "hang": "run_timeout: took longer than 2 s",
        "raise_input": "media_unreadable: ",
        "raise_bug": "internal: ZeroDivisionError",
    }
    paths = make_files(tmp_path, 12)
    expected = {}
    for path, (behaviour, error) in zip(paths[1::2], bad.items(), strict=False):
        path.write_bytes(MARKER + behaviour.encode() + b"\n")
        expected[str(path)] = error
    paths.append(tmp_path / "missing.wav")
    expected[str(paths[-1])] = "media_not_found: "

    summary = scan(
        paths,
        tmp_path / "s.csv",
        DummyDetector,
        identity=MODEL,
        options=ScanOptions(jobs=2, timeout_s=2.0),
    )

    assert (summary.failed, summary.judged) == (6, 7)
    for row in rows(tmp_path / "s.csv"):
        assert row["error"].startswith(expected.get(row["path"], "")), row
        assert bool(row["error"]) == (row["path"] in expected)


def test_a_recording_that_takes_all_memory_costs_its_own_row_only(tmp_path: Path) -> None:
    paths = make_files(tmp_path, 2)
    paths[0].write_bytes(MARKER + b"exhaust_memory\n")

    scan(paths, tmp_path / "s.csv", DummyDetector, identity=MODEL, options=ScanOptions(memory_bytes=1 << 30))

    first, second = rows(tmp_path / "s.csv")
    assert first["error"] == "worker_crash: needed more than 1024 MiB of memory"
    assert second["error"] == ""


@dataclass(frozen=True, slots=True)
class DyingOnce(DummyDetector):
    """Ends its worker at the first recording that any of its kind is shown, and leaves `met` behind."""

    met: Path = Path()

    def analyze(self, evidence: DetectorInput, progress: Progress | None = None) -> DetectorOutput:
        with suppress(FileExistsError):
            self.met.touch(exist_ok=False)
            os._exit(1)
        return DummyDetector.analyze(self, evidence, progress)


def test_a_recording_charged_with_the_death_of_a_worker_is_judged_once_more(tmp_path: Path) -> None:
    paths = make_files(tmp_path, 5)
    scan(
        paths,
        tmp_path / "s.csv",
        partial(DyingOnce, met=tmp_path / "met"),
        identity=MODEL,
        options=ScanOptions(jobs=2),
    )
    assert [row["error"] for row in rows(tmp_path / "s.csv")] == [""] * 5
    assert (tmp_path / "met").exists()


class TakenToDeath(str):
    """A path at which `deaths` workers die in the instant of taking it, with the lock of their pool in hand."""

    __slots__ = ("deaths",)
    deaths: int

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if self.deaths:
            self.deaths -= 1
            return os._exit, (1,)
        return str, (str(self),)


@pytest.mark.parametrize(
    ("deaths", "error"), [(1, ""), (2, "worker_crash: the worker processes died in taking this")]
)
def test_a_pool_that_broke_is_replaced_and_what_it_was_at_is_done(tmp_path: Path, deaths: int, error: str) -> None:
    paths = [TakenToDeath(path) for path in make_files(tmp_path, 5)]
    for path in paths:
        path.deaths = 0
    paths[2].deaths = deaths  # with 2 it breaks the pool again when it is judged alone
    crew = _Crew(DummyDetector, ScanOptions(jobs=2), taken_within_s=2.0)
    for path in paths:
        crew.take(path)
    found = [crew.oldest() for _ in paths]
    crew.close()
    assert [row.path for row in found] == paths
    assert all((row.error or "").startswith(error if row.path == paths[2] else "") for row in found)
    assert [bool(row.error) for row in found] == [bool(error) and path == paths[2] for path in paths]


def test_what_is_there_is_not_done_again(tmp_path: Path) -> None:
    paths = make_files(tmp_path, 6)
    scan(paths[:4], tmp_path / "s.csv", partial(DummyDetector, p_fake=0.9), identity=MODEL)
    told: list[int] = []

    summary = scan(
        paths, tmp_path / "s.csv", partial(DummyDetector, p_fake=0.1), identity=MODEL, progress=told.append
    )

    assert (summary.already_there, summary.judged) == (4, 2)
    assert [row["verdict"] for row in rows(tmp_path / "s.csv")] == ["DEEPFAKE"] * 4 + ["AUTHENTIC"] * 2
    assert sum(told) == 6


def test_a_recording_that_is_named_twice_is_judged_once(tmp_path: Path) -> None:
    paths = make_files(tmp_path, 3)
    summary = scan([*paths, paths[0], *paths], tmp_path / "s.csv", DummyDetector, identity=MODEL)
    assert (summary.judged, summary.already_there) == (3, 4)
    assert [row["path"] for row in rows(tmp_path / "s.csv")] == [str(path) for path in paths]


def test_recordings_are_asked_for_only_as_they_are_needed(tmp_path: Path) -> None:
    """Of a million none but those under way is held."""
    paths = make_files(tmp_path, 60)
    ahead: list[int] = []
    out = tmp_path / "s.csv"

    def one_by_one() -> Iterator[Path]:
        for number, path in enumerate(paths):
            written = len(out.read_bytes().splitlines()) - 1
            ahead.append(number - written)
            yield path

    scan(one_by_one(), out, DummyDetector, identity=MODEL)
    assert max(ahead) <= LOOK_AHEAD_PER_JOB


SCAN = """
import sys
from functools import partial
from pathlib import Path
from earwitness.dummy import DummyDetector
from earwitness.scan import scan
if __name__ == "__main__":
    paths = sorted(Path(sys.argv[1]).glob("*.wav"))
    scan(paths, Path(sys.argv[2]), partial(DummyDetector, delay_s=0.05), identity={"model_version": "dummy-1"})
"""


def test_killed_in_the_middle_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    paths = make_files(tmp_path, 40)
    out = tmp_path / "s.csv"
    script = tmp_path / "scan_them.py"
    script.write_text(SCAN)
    command = [sys.executable, str(script), str(tmp_path), str(out)]

    process = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + 60
    while (not out.exists() or out.read_bytes().count(b"\n") < 6) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = rows(out)
    with out.open("ab") as file:
        file.write(b"torn row,without its")
    subprocess.run(command, check=True, timeout=120)

    assert 5 <= len(before) < 40
    assert rows(out)[: len(before)] == before
    assert [row["path"] for row in rows(out)] == [str(path) for path in paths]


def test_the_number_of_jobs_does_not_change_the_table(tmp_path: Path) -> None:
    paths = make_files(tmp_path, 10)
    for jobs in (1, 2):
        scan(paths, tmp_path / f"{jobs}.csv", DummyDetector, identity=MODEL, options=ScanOptions(jobs=jobs))
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()
