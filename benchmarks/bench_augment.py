"""How much augmentation costs: clips a second of the default chain, and milliseconds of each kind.

    python benchmarks/bench_augment.py [--clips 60] [--seconds 3] [--noise FOLDER] [--json]

Speed is CPU time of one process, and a ratio to decoding the same clips from Opus files in the same run, so that
figures of different machines can be compared. The clips are made by code; nothing is downloaded.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import av
import numpy as np

from earwitness.media import read_waveform
from earwitness.waveform import SAMPLE_RATE_HZ, Samples
from ml.augment import METHODS, AugmentConfig, NoiseBank, SpliceConfig, augment, copy_synthesise, splice
from ml.augment.chain import STEPS, Apply
from ml.augment.codecs import CODECS, Codec, round_trip
from ml.augment.noise import coloured_noise
from ml.augment.rooms import synthetic_response
from ml.tests.speechlike import speechlike

T = TypeVar("T")
OPUS_BIT_RATE = 24_000
CHAIN_PASSES = 5  # the chain is drawn anew each time: more passes, a steadier mean


@dataclass(frozen=True)
class Timing:
    what: str
    cpu_ms: float
    """Mean for one clip."""
    times_decoding: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--noise", type=Path, help="folder of noises with a manifest.csv; made by code if not given"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    clips = [speechlike(options.seconds, seed=options.seed + index) for index in range(options.clips)]
    rng = np.random.default_rng(options.seed)
    bank = NoiseBank.from_folder(options.noise) if options.noise else made_bank(rng)
    bank = bank.with_voices(clips)
    config = AugmentConfig()

    decode_ms = time_decoding(clips)

    def timing(what: str, work: Callable[[Samples], object], on: Sequence[Samples]) -> Timing:
        work(on[0])  # delays of codecs, windows and filter banks are worked out once
        cpu_ms = mean_cpu_ms(work, on)
        return Timing(what, cpu_ms, cpu_ms / decode_ms)

    chain = timing("default chain", lambda clip: augment(clip, rng, config, bank), clips * CHAIN_PASSES)
    timings = [
        chain,
        *(timing(name, partial(run_step, apply, rng, config, bank), clips) for name, apply in STEPS),
        *(
            timing(f"codec {name}", partial(round_trip, codec=codec, bit_rate=middle_rate(codec)), clips)
            for name, codec in CODECS.items()
        ),
        *(timing(f"copy {method}", partial(copy_synthesise, rng=rng, method=method), clips) for method in METHODS),
        timing("splice", lambda clip: splice(clip, clip, rng, SpliceConfig()), clips),
    ]

    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "seed": options.seed,
        "data": f"{options.clips} made clips of {options.seconds} s",
        "decode_opus_cpu_ms": decode_ms,
        "chain_clips_per_cpu_second": 1_000 / chain.cpu_ms,
        "timings": {t.what: {"cpu_ms": t.cpu_ms, "times_decoding": t.times_decoding} for t in timings},
    }
    if options.json:
        print(json.dumps(report, indent=1))
        return
    print(f"machine  {report['machine']}\nseed     {report['seed']}\ndata     {report['data']}")
    print(f"decoding a clip from Opus: {decode_ms:.2f} ms of CPU time; the ratios below are to that")
    print(f"default chain: {report['chain_clips_per_cpu_second']:.0f} clips a second on one core\n")
    print(f"{'':24}{'CPU ms a clip':>14}{'x decoding':>12}")
    for t in timings:
        print(f"{t.what:24}{t.cpu_ms:14.2f}{t.times_decoding:12.2f}")


def run_step(
    apply: Apply, rng: np.random.Generator, config: AugmentConfig, bank: NoiseBank, clip: Samples
) -> Samples:
    return apply(clip, rng, config, bank)


def middle_rate(codec: Codec) -> int:
    return codec.bit_rates[len(codec.bit_rates) // 2]


def made_bank(rng: np.random.Generator) -> NoiseBank:
    return NoiseBank(
        noises=tuple(coloured_noise(5 * SAMPLE_RATE_HZ, slope, rng) for slope in (0.0, 0.5, 1.0)),
        rooms=tuple(synthetic_response(rt60_s, 3.0, rng) for rt60_s in (0.3, 0.6)),
    )


def time_decoding(clips: Sequence[Samples]) -> float:
    """CPU milliseconds to read one clip from an Opus file, as training would."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}.ogg" for index in range(len(clips))]
        for path, clip in zip(paths, clips, strict=True):
            write_opus(path, clip)
        read_waveform(paths[0])
        return mean_cpu_ms(read_waveform, paths)


def write_opus(path: Path, samples: Samples) -> None:
    with av.open(str(path), "w", format="ogg") as output:
        stream = output.add_stream("libopus", rate=SAMPLE_RATE_HZ, layout="mono")
        stream.bit_rate = OPUS_BIT_RATE
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        output.mux([*stream.encode(frame), *stream.encode(None)])


def mean_cpu_ms(work: Callable[[T], object], items: Sequence[T]) -> float:
    start = time.process_time()
    for item in items:
        work(item)
    return 1_000 * (time.process_time() - start) / len(items)


if __name__ == "__main__":
    main()
