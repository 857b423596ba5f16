"""How fast the library examines recordings on this machine, step by step, and what a longer one costs in memory.

    python benchmarks/bench_library.py [--model PATH] [--minutes 10]

Prints the machine, the seed and the data. Speed is given as a ratio to something measured in the same run: to the
length of the sound, and to plain decoding of the same file.
"""

import argparse
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from earwitness.media import open_media
from earwitness.model_spec import default_model_path
from earwitness.onnx_detector import OnnxAudioDetector
from earwitness.pipeline import examine
from earwitness.scan import ScanOptions, scan
from earwitness.scorer import load_scorer
from tests.audio_files import write_audio
from tests.speechlike import repeated, speechlike

SEED = 1
CLIP_S = 4.0
CLIPS = 60
REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=default_model_path())
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the long recording")
    arguments = parser.parse_args()
    scorer = load_scorer(arguments.model)
    print(f"machine: {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}")
    print(f"model: {scorer.spec.model_version}; seed {SEED}; data: speech-like sound made by tests/speechlike.py")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _bench_steps(folder, arguments.model)
        _bench_memory(folder, arguments.model, arguments.minutes)
        _bench_scan(folder, arguments.model)


def _bench_steps(folder: Path, model: Path) -> None:
    scorer = load_scorer(model)
    sound = repeated(speechlike(20.0, SEED), 60.0)
    print("\none minute of sound, one thread; x = times faster than it plays")
    for file_name, codec, rate_hz in (
        ("a.wav", "pcm_s16le", 16_000),
        ("a.mp3", "libmp3lame", 44_100),
        ("a.m4a", "aac", 48_000),
        ("a.amr", "libopencore_amrnb", 8_000),
    ):
        path = write_audio(folder / file_name, sound, codec=codec, rate_hz=rate_hz)
        decoding_s = _fastest(partial(_decode, path))
        whole_s = _fastest(partial(examine, path, scorer))
        timings = examine(path, scorer).timings_ms
        shares = ", ".join(
            f"{step} {100 * timings.get(step, 0.0) / timings['total']:.0f} %"
            for step in ("decode", "listen", "signals", "canonical", "network", "deletion")
        )
        print(
            f"  {file_name:6} examined {60 / whole_s:6.0f} x   decoded only {60 / decoding_s:6.0f} x   "
            f"ratio {whole_s / decoding_s:5.1f}   ({shares})"
        )
    clip = write_audio(folder / "clip.wav", sound[: int(CLIP_S * 16_000)])
    times_ms = np.sort([1000 * _timed(partial(examine, clip, scorer)) for _ in range(50)])
    print(f"  one {CLIP_S:g} s clip: median {times_ms[25]:.1f} ms, p90 {times_ms[45]:.1f} ms")


def _bench_memory(folder: Path, model: Path, minutes: float) -> None:
    scorer = load_scorer(model)
    sound = speechlike(30.0, SEED)
    short = write_audio(folder / "s.wav", repeated(sound, 60.0), codec="pcm_u8", rate_hz=8_000)
    long = write_audio(folder / "l.wav", repeated(sound, minutes * 60), codec="pcm_u8", rate_hz=8_000)
    examine(short, scorer)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    took_s = _timed(partial(examine, long, scorer))
    growth_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    as_samples_kib = minutes * 60 * 16_000 * 4 / 1024
    print(f"\n{minutes:g} minutes after one minute: peak memory + {growth_kib / 1024:.1f} MiB", end=" ")
    print(
        f"(the sound itself: {as_samples_kib / 1024:.0f} MiB); {minutes * 60 / took_s:.0f} x faster than it plays"
    )


def _bench_scan(folder: Path, model: Path) -> None:
    clips = folder / "clips"
    clips.mkdir()
    paths = [write_audio(clips / f"{n}.wav", speechlike(CLIP_S, SEED + n)) for n in range(CLIPS)]
    print(f"\nscan of {CLIPS} clips of {CLIP_S:g} s, start of the processes included")
    took_s: dict[int, float] = {}
    for jobs in (1, 2):
        table = folder / f"{jobs}.csv"
        make_detector = partial(OnnxAudioDetector, model)
        options = ScanOptions(jobs=jobs)
        took_s[jobs] = _timed(partial(scan, paths, table, make_detector, identity={}, options=options))
        print(f"  {jobs} job{'s' * (jobs > 1)}: {CLIPS / took_s[jobs]:.0f} clips/s", end="   ")
    print(f"two jobs / one job: {took_s[1] / took_s[2]:.2f} x")


def _decode(path: Path) -> None:
    with open_media(path) as media:
        for _ in media:
            pass


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _fastest(call: Callable[[], object]) -> float:
    return min(_timed(call) for _ in range(REPEATS))


if __name__ == "__main__":
    main()
