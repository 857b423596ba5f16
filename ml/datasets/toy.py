"""Recipe: a toy corpus made of arithmetic, for trying the pipeline out without any data.

    manifest = make_toy_corpus(Path("runs/toy"), clips=96, seed=1)

"Human" clips are a source-filter synthesis whose pitch and loudness wander and which breathes; "spoof" clips are
the same with neither: a vocoder's buzz. A network learns the difference in seconds. Figures on it mean nothing
for real speech.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from earwitness.waveform import SAMPLE_RATE_HZ, sample_count
from ml.datasets.manifest import HUMAN, Clip, Kind, Label, write_manifest
from ml.wav import write_wav

NAME = "toy"
TITLE = "Toy corpus made of arithmetic (no download)"
REPOSITORIES = 12
DEV_SHARE = 4  # every fourth clip
FORMANTS_HZ = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (660, 1720, 2410))
BANDWIDTHS_HZ = (90, 110, 160)
SYLLABLE_S = 0.2
RMS = 0.06


def make_toy_corpus(root: Path, clips: int, seed: int) -> Path:
    """Write `clips` WAV files and `manifest.csv` below `root`; the manifest's path.

    Sources and systems of the dev part don't occur in the train part.
    """
    if clips < 2 * REPOSITORIES:
        raise ValueError(f"a toy corpus needs at least {2 * REPOSITORIES} clips")
    (root / "audio").mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(clips):
        rng = np.random.default_rng([seed, number])
        is_spoof = number % 2 == 1
        split = "dev" if (number // 2) % DEV_SHARE == 0 else "train"
        group = (number // 2) % REPOSITORIES
        system = f"buzz-{split}-{group}" if is_spoof else HUMAN
        duration_s = float(rng.uniform(1.6, 3.0))
        path = (root / "audio" / f"{number:05d}.wav").resolve()
        write_wav(path, toy_speech(rng, duration_s, is_spoof=is_spoof))
        rows.append(
            Clip(
                path=path,
                label=Label.SPOOF if is_spoof else Label.BONAFIDE,
                kind=Kind.TTS if is_spoof else Kind.HUMAN,
                system=system,
                lineage=system,
                speaker=f"toy-{split}-{group}",
                source_set=f"toy-{split}",
                source_repo=f"toy-{split}-{group}",
                language="en",
                duration_s=duration_s,
                sample_rate_hz=SAMPLE_RATE_HZ,
                codec="pcm_s16le",
                split=split,
                corpus=NAME,
            )
        )
    return write_manifest(root / "manifest.csv", rows)


def toy_speech(rng: np.random.Generator, duration_s: float, *, is_spoof: bool) -> NDArray[np.float32]:
    """(samples,) float32: syllables with pauses. A spoof has a steady pitch and no breath."""
    wanted = sample_count(duration_s)
    pitch_hz = rng.uniform(90, 220)
    parts: list[NDArray[np.float64]] = []
    while sum(part.size for part in parts) < wanted:
        parts.extend(_syllable(rng, pitch_hz, is_spoof=is_spoof) for _ in range(int(rng.integers(3, 7))))
        parts.append(np.zeros(sample_count(rng.uniform(0.05, 0.2))))
    sound = np.concatenate(parts)[:wanted]
    sound *= RMS / np.sqrt(np.mean(sound**2))
    sound += rng.normal(0, 3e-4, wanted)
    return sound.astype(np.float32)


def _syllable(rng: np.random.Generator, pitch_hz: float, *, is_spoof: bool) -> NDArray[np.float64]:
    count = sample_count(SYLLABLE_S * rng.uniform(0.8, 1.3))
    time_s = np.arange(count) / SAMPLE_RATE_HZ
    wander = 0.0 if is_spoof else 0.03
    jitter = np.repeat(rng.normal(0, wander, count // 80 + 1), 80)[:count]
    frequency = pitch_hz * (1.05 - 0.1 * time_s / SYLLABLE_S) * (1 + jitter)
    source = np.diff(np.cumsum(frequency) / SAMPLE_RATE_HZ % 1.0, prepend=0.0)  # a pulse where the phase wraps
    if not is_spoof:
        source += rng.normal(0, 0.05, count)
    sound = np.zeros(count)
    for centre, width in zip(FORMANTS_HZ[int(rng.integers(len(FORMANTS_HZ)))], BANDWIDTHS_HZ, strict=True):
        numerator, denominator = signal.iirpeak(centre, centre / width, fs=SAMPLE_RATE_HZ)
        sound += signal.lfilter(numerator, denominator, source)
    return np.asarray(sound * np.sin(np.pi * np.arange(count) / count) ** 0.6)
