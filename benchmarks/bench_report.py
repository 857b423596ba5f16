"""Time of a full report on one minute of sound, on one core, beside the examination alone in the same run.

    python benchmarks/bench_report.py

Full report: examination, second look (outline, hash, robustness panel), contents, and the PDF or the page. Processor
time is what counts where other work shares the core; on an idle one the two agree.
"""

import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and ONNX Runtime are loaded
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from earwitness.actions import load_action_policy
from earwitness.detector import DetectorInput, DetectorOutput
from earwitness.model_spec import file_sha256
from earwitness.onnx_detector import OnnxAudioDetector
from earwitness.reporting.forms import Form, render
from earwitness.reporting.full import report_on_file
from tests.audio_files import write_audio
from tests.speechlike import speechlike

SEED = 1
SOUND_S = 60.0
REPEATS = 3
GOAL_S = 3.0


def main() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(
        f"{platform.machine()}, one core, Python {platform.python_version()}; {SOUND_S:g} s of speech, seed {SEED}"
    )
    detector = OnnxAudioDetector()
    with tempfile.TemporaryDirectory() as folder:
        path = write_audio(Path(folder) / "minute.wav", speechlike(SOUND_S, SEED))
        first = _timed(lambda: _full(detector, path, Form.PDF))
        alone = _fastest(lambda: detector.analyze(DetectorInput(path)))
        print(f"model {detector.model_version}; examination alone {alone}")
        print(f"  first PDF of a process (fonts and typesetter loaded): {first}")
        for form in Form:
            took = _fastest(partial(_full, detector, path, form))
            reached = "within" if took.cpu_s < GOAL_S else "beyond"
            print(
                f"  full report as {form.value:<17} {took}, {took.cpu_s / alone.cpu_s:.2f} x the examination; "
                f"processor time {reached} the goal of {GOAL_S:g} s"
            )


@dataclass(frozen=True, order=True)
class Took:
    cpu_s: float
    wall_s: float

    def __str__(self) -> str:
        return f"{self.wall_s:.2f} s ({self.cpu_s:.2f} s of processor)"


def _full(detector: OnnxAudioDetector, path: Path, form: Form) -> bytes:
    begun_at, sha256 = datetime.now(UTC), file_sha256(path)
    output: DetectorOutput = detector.analyze(DetectorInput(path))
    report, outline = report_on_file(
        path,
        output,
        detector.scorer,
        begun_at=begun_at,
        sha256_at_receipt=sha256,
        policy=load_action_policy(),
    )
    return render(report, outline, form)


def _timed(call: Callable[[], object]) -> Took:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    call()
    return Took(time.process_time() - cpu_s, time.perf_counter() - wall_s)


def _fastest(call: Callable[[], object]) -> Took:
    return min(_timed(call) for _ in range(REPEATS))


if __name__ == "__main__":
    main()
