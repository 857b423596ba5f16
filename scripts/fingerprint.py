"""What this machine makes of the recordings in examples/: to be compared with what another one makes of them.

    python scripts/fingerprint.py > here.txt     # by every shipped model, or those named

Of each recording the SHA-256 of its decoded samples and of its first window's canonical view, and by each model the
score to the last digit. Between two machines the hashes should be the same, and scores may differ in their last digits.
Another processor can be emulated by QEMU's user mode, with PYTHONPATH set to where the packages lie:

    qemu-x86_64 -cpu Haswell-noTSX /usr/bin/python3.11 scripts/fingerprint.py > there.txt
"""

import argparse
import csv
import hashlib
from pathlib import Path

import numpy as np

from earwitness.canonical import canonicalise
from earwitness.media import open_media
from earwitness.model_spec import PROFILES
from earwitness.pipeline import ExamineOptions, examine
from earwitness.scorer import load_scorer
from earwitness.waveform import Samples
from earwitness.windows import iter_windows

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = ExamineOptions(grounds=False)  # reasons cost time and say nothing here


def short_hash(samples: Samples) -> str:
    return hashlib.sha256(samples.tobytes()).hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help=f"of {', '.join(PROFILES)}; all of them by default"
    )
    chosen = parser.parse_args().models or list(PROFILES)
    if unknown := set(chosen) - PROFILES.keys():
        parser.error(f"no shipped model {min(unknown)!r}; there are {', '.join(PROFILES)}")
    scorers = [load_scorer(ROOT / "models" / "audio" / f"{PROFILES[model]}.onnx") for model in chosen]
    with (ROOT / "examples" / "manifest.csv").open(encoding="utf-8", newline="") as file:
        names = [row["file"] for row in csv.DictReader(file)]
    for name in names:
        path = ROOT / "examples" / name
        with open_media(path) as media:
            blocks = list(media)
        told = [name]
        if blocks:
            window = next(iter(iter_windows(blocks, scorers[0].spec.window)))
            told += [short_hash(np.concatenate(blocks)), short_hash(canonicalise(window.samples).samples)]
        told += [f"{scorer.spec.model_version} {examine(path, scorer, OPTIONS).score!r}" for scorer in scorers]
        print("  ".join(told), flush=True)


if __name__ == "__main__":
    main()
