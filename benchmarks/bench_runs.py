"""How long people wait for `/run`: 1, 10 and 50 clients at a time with the shipped detector, every answer checked.

    python benchmarks/bench_runs.py [--quick] [--model PATH]

For SQLite, where the service does its runs itself in two worker processes, and for PostgreSQL, where two
`earwitness worker` processes do them: real processes as an operator starts them, 10 s clips, one analysis for each
client. Each client asks for its next run when it has the answer of the last one. Every answer has to be the
finding that the detector alone comes to, and at the end the service must have recorded just the runs that were
answered. Beside each figure stands the detector alone in this process, taken right before it, and the time that as
many clients would wait if the runs cost nothing but the detector. Client, service, workers and database share the
machine's processors.

Also the time from the start of a process to `/ready`, with the model loaded and a warm disk cache: wall time, and
processor time of all its processes, which a busy machine changes less.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.bench_service import postgres, processor
from earwitness.detector import DetectorInput, DetectorOutput
from earwitness.model_spec import default_model_path
from earwitness.onnx_detector import OnnxAudioDetector
from tests.audio_files import write_audio
from tests.processes import cpu_s
from tests.speechlike import speechlike

SEED = 20261124
CLIPS, CLIP_S = 10, 10.0
WORKERS = 2
READY_GOAL_S = 3.0
LIMIT_S = 120.0
ALONE_CALLS = 20
STARTS = 5


@dataclass(frozen=True, slots=True)
class Load:
    clients: int
    runs: int
    """In all."""


FULL = (Load(1, 100), Load(10, 300), Load(50, 500))
QUICK = (Load(1, 10), Load(10, 20), Load(50, 50))


@dataclass(frozen=True, slots=True)
class Started:
    url: str
    pid: int
    wall_s: float
    """From the start of the process to the first `/ready` that was 200."""
    spent_s: float
    """Processor time of it and all that it started, until then."""

    def call(self, method: str, path: str, body: bytes = b"", media_type: str = "") -> tuple[int, Any]:
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=600)
        try:
            return call(connection, method, path, body, media_type)
        finally:
            connection.close()


def call(
    connection: HTTPConnection, method: str, path: str, body: bytes = b"", media_type: str = ""
) -> tuple[int, Any]:
    connection.request(method, path, body, {"Content-Type": media_type} if media_type else {})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


@contextmanager
def started(folder: Path, command: str, **settings: str) -> Iterator[Started]:
    """`python -m app serve` or `worker`, ready; stopped at the end however that comes."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EARWITNESS_")}
    environment |= {f"EARWITNESS_{name}": value for name, value in settings.items()}
    environment |= {
        "EARWITNESS_PORT": "0",
        "EARWITNESS_WORKER_PORT": "0",
        "EARWITNESS_EVIDENCE_DIR": str(folder / "evidence"),
        "EARWITNESS_LOG_LEVEL": "ERROR",
    }
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "app", command], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{command} did not start; its reason stands above")
        one = Started(json.loads(line)["url"], process.pid, 0.0, 0.0)
        while one.call("GET", "/ready")[0] != 200:
            if time.perf_counter() - begun > LIMIT_S:
                raise RuntimeError(f"{command} is not ready: {one.call('GET', '/ready')[1]}")
            time.sleep(0.02)
        yield replace(one, wall_s=time.perf_counter() - begun, spent_s=cpu_s(process.pid))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def upload(service: Started, clip: Path) -> str:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    body = head + clip.read_bytes() + b"\r\n--b--\r\n"
    status, answer = service.call("POST", "/v1/analysis/upload", body, "multipart/form-data; boundary=b")
    if status != 201:
        raise RuntimeError(f"the upload was answered {status}: {answer}")
    return str(answer["analysis_id"])


def runs_of(service: Started, analysis_id: str) -> list[dict[str, Any]]:
    """All that are recorded, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        page = service.call("GET", f"/v1/analysis/{analysis_id}/runs?offset={len(found)}")[1]["items"]
        if not page:
            return found
        found += page


def finding(record: dict[str, Any]) -> tuple[object, ...]:
    return record["status"], record["verdict"], record["llr"], tuple(record["abstentions"])


def expected(output: DetectorOutput) -> tuple[object, ...]:
    return "DONE", output.verdict.value, output.llr, tuple(reason.value for reason in output.abstentions)


def bench_load(
    service: Started, workers: list[Started], load: Load, clips: list[Path], detector: OnnxAudioDetector
) -> None:
    alone_s, spent_s = [], time.process_time()
    for number in range(ALONE_CALLS):
        begun = time.perf_counter()
        detector.analyze(DetectorInput(clips[number % len(clips)]))
        alone_s.append(time.perf_counter() - begun)
    detector_s = statistics.median(alone_s)
    spent_s = (time.process_time() - spent_s) / ALONE_CALLS
    right = [expected(detector.analyze(DetectorInput(clip))) for clip in clips]
    runs_each = load.runs // load.clients

    def client(number: int) -> tuple[str, list[float]]:
        """Its analysis, and how long each run took; raises where an answer is not what it has to be."""
        clip = number % len(clips)
        analysis_id = upload(service, clips[clip])
        connection = HTTPConnection(urlsplit(service.url).netloc, timeout=600)
        waited_s = []
        for _ in range(runs_each):
            begun = time.perf_counter()
            status, record = call(connection, "POST", f"/v1/analysis/{analysis_id}/run")
            waited_s.append(time.perf_counter() - begun)
            if status != 200 or finding(record) != right[clip]:
                raise RuntimeError(f"a run was answered {status}: {record}; expected {right[clip]}")
        connection.close()
        return analysis_id, waited_s

    before_s = sum(cpu_s(one.pid) for one in (service, *workers))
    begun = time.perf_counter()
    with ThreadPoolExecutor(load.clients) as threads:
        done = list(threads.map(client, range(load.clients)))
    took_s = time.perf_counter() - begun
    a_run_s = (sum(cpu_s(one.pid) for one in (service, *workers)) - before_s) / (runs_each * load.clients)
    for analysis_id, _ in done:
        recorded = runs_of(service, analysis_id)
        if [run["outcome"] for run in recorded] != ["DONE"] * runs_each:
            raise RuntimeError(f"{runs_each} runs were answered, and {len(recorded)} are recorded")
    waited_s = [seconds for _, times in done for seconds in times]
    p50_s, p99_s = statistics.median(waited_s), statistics.quantiles(waited_s, n=100)[98]
    least_s = detector_s * max(1.0, load.clients / WORKERS)
    print(
        f"  {load.clients:2} clients: p50 {p50_s * 1000:7.0f} ms, p99 {p99_s * 1000:7.0f} ms, "
        f"{len(waited_s) / took_s:5.1f} runs/s; detector alone {detector_s * 1000:.0f} ms, "
        f"p50 / (detector x clients / {WORKERS} workers, at least 1) {p50_s / least_s:.2f}; "
        f"{len(waited_s)} answers as expected, none lost"
    )
    print(
        f"    processor time of service and workers {a_run_s * 1000:.0f} ms a run, upload included, "
        f"of the detector alone {spent_s * 1000:.0f} ms: {a_run_s / spent_s:.2f}"
    )


def bench_starts(folder: Path, model: Path) -> None:
    """The first one makes the database and is left out."""
    wall_s, spent_s = [], []
    for number in range(STARTS + 1):
        with started(folder, "serve", DATABASE_URL=f"sqlite:///{folder}/start.db", MODEL=str(model)) as service:
            if number:
                wall_s.append(service.wall_s)
                spent_s.append(service.spent_s)
    middle_s = statistics.median(wall_s)
    met = "met" if middle_s < READY_GOAL_S else "NOT met"
    print(
        f"\nstart to ready: median of {STARTS} {middle_s:.2f} s, quickest {min(wall_s):.2f} s (goal: under "
        f"{READY_GOAL_S:g} s; {met}); processor time of its processes {statistics.median(spent_s):.2f} s"
    )
    shutil.rmtree(folder / "evidence")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=default_model_path())
    parser.add_argument("--quick", action="store_true", help="few runs, to see that it works: no figures to quote")
    parser.add_argument("--only", choices=["start", "sqlite", "postgresql"], help="a part")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a file shows each figure as it comes
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that what was started is stopped
    model = arguments.model.resolve()
    print(f"machine: {processor()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    print(f"Python {platform.python_version()}, {platform.system()} {platform.release()}; seed {SEED}")
    print(f"data: {CLIPS} clips of {CLIP_S:g} s, speech-like sound made by tests/speechlike.py, WAV at 16 kHz")
    folder = Path(tempfile.mkdtemp(prefix="earwitness-bench-"))
    folder.chmod(0o755)  # run by root, PostgreSQL takes another user's rights
    loads = QUICK if arguments.quick else FULL
    parts = [arguments.only] if arguments.only else ["start", "sqlite", "postgresql"]
    try:
        clips = [write_audio(folder / f"{n}.wav", speechlike(CLIP_S, SEED + n)) for n in range(CLIPS)]
        detector = OnnxAudioDetector(model)
        common = {"MODEL": str(model)}
        if "start" in parts:
            bench_starts(folder, model)
        if "sqlite" in parts:
            print(f"\nSQLite, the service's own {WORKERS} worker processes")
            here = {"DATABASE_URL": f"sqlite:///{folder}/runs.db", "WORKERS": str(WORKERS), **common}
            with started(folder, "serve", **here) as service:
                for load in loads:
                    bench_load(service, [], load, clips, detector)
            shutil.rmtree(folder / "evidence")
        if "postgresql" in parts:
            with ExitStack() as stack:
                url = stack.enter_context(postgres(folder))
                print(f"\nPostgreSQL, a service without workers and {WORKERS} x `earwitness worker`")
                there = {"DATABASE_URL": url, **common}
                workers = [
                    stack.enter_context(started(folder, "worker", WORKERS="1", **there)) for _ in range(WORKERS)
                ]
                print(f"  worker from start to ready: {min(one.wall_s for one in workers):.2f} s")
                service = stack.enter_context(started(folder, "serve", WORKERS="0", **there))
                for load in loads:
                    bench_load(service, workers, load, clips, detector)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
