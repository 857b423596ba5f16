"""Decoded clips in one memory-mapped file, so that a training step reads sound and decodes nothing.

    store = WaveformStore.open_or_build(clips, Path("runs/cache"))
    store.waveform(3)       # float32, mono, 16 kHz

Held as 16-bit integers: 1 hour is 115 MB. The cache is named by what is in it; another list of clips makes
another file.
"""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from earwitness.errors import InputError
from earwitness.media import read_waveform
from earwitness.waveform import Samples
from ml.config import ConfigError
from ml.datasets.manifest import Clip
from ml.wav import INT16_FULL_SCALE, to_pcm16

CACHE_VERSION = 1
MIN_SAMPLES = 8_000  # half a second: nothing shorter is trained or evaluated on


MAX_SKIPPED_SHARE = 0.1
"""A few broken or very short files change nothing that is learnt; a tenth of a corpus is a folder that is missing."""


@dataclass(frozen=True, slots=True)
class WaveformStore:
    clips: tuple[Clip, ...]
    """Those that could be read."""
    skipped: tuple[str, ...]
    """A line for each that could not."""
    offsets: NDArray[np.int64]
    """(clips + 1,)"""
    samples: NDArray[np.int16]

    def waveform(self, index: int) -> Samples:
        start, stop = self.offsets[index], self.offsets[index + 1]
        return self.samples[start:stop].astype(np.float32) / np.float32(INT16_FULL_SCALE)

    @staticmethod
    def open_or_build(clips: Sequence[Clip], cache_dir: Path) -> "WaveformStore":
        """The store of `clips`, decoded now unless an earlier call did it.

        A clip that can't be read is skipped; how many were, and why the first, is told on stderr. Raises ConfigError
        where that is more than `MAX_SKIPPED_SHARE`, or leaves nothing or but one of two classes.
        """
        key = hashlib.sha256(f"{CACHE_VERSION}".encode())
        for clip in clips:
            stat = clip.path.stat() if clip.path.exists() else None
            key.update(f"{clip.path} {stat and (stat.st_size, stat.st_mtime_ns)}\n".encode())
        stem = cache_dir / key.hexdigest()[:16]
        index_path, data_path = stem.with_suffix(".json"), stem.with_suffix(".pcm")
        if not index_path.exists():
            _build(clips, index_path, data_path)
        index = json.loads(index_path.read_text(encoding="utf-8"))
        data = (
            np.memmap(data_path, dtype=np.int16, mode="r") if data_path.stat().st_size else np.zeros(0, np.int16)
        )
        kept, skipped = tuple(clips[i] for i in index["kept"]), tuple(index["skipped"])
        _check_skipped(clips, kept, skipped)
        return WaveformStore(
            clips=kept,
            skipped=skipped,
            offsets=np.asarray(index["offsets"], dtype=np.int64),
            samples=data,
        )


def _check_skipped(clips: Sequence[Clip], kept: Sequence[Clip], skipped: Sequence[str]) -> None:
    if not skipped:
        return
    told = f"{len(skipped)} of {len(clips)} clips can't be used, the first: {skipped[0]}"
    if lost := {clip.label for clip in clips} - {clip.label for clip in kept}:
        raise ConfigError(f"{told}; of {' and '.join(sorted(lost))} none is left")
    if len(skipped) > MAX_SKIPPED_SHARE * len(clips):
        raise ConfigError(
            f"{told}; more than {MAX_SKIPPED_SHARE:.0%} may not be left out: mend the files, or leave them out of the "
            "manifest (`python -m ml.datasets validate --on-corrupt skip --clean FILE`)"
        )
    print(f"warning: {told}", file=sys.stderr)


def _build(clips: Sequence[Clip], index_path: Path, data_path: Path) -> None:
    index_path.parent.mkdir(parents=True, exist_ok=True)
    kept, skipped, offsets = [], [], [0]
    partial = data_path.with_suffix(f".{os.getpid()}.part")
    with partial.open("wb") as file:
        for i, clip in enumerate(tqdm(clips, desc="decode", unit="clip", mininterval=2.0)):
            try:
                waveform, _ = read_waveform(Path(clip.path))
            except InputError as error:
                skipped.append(f"{clip.path}: {error}")
                continue
            if waveform.size < MIN_SAMPLES:
                skipped.append(f"{clip.path}: only {waveform.size} samples")
                continue
            pcm = to_pcm16(waveform)
            file.write(pcm.tobytes())
            kept.append(i)
            offsets.append(offsets[-1] + pcm.size)
    partial.replace(data_path)
    index_part = index_path.with_suffix(f".{os.getpid()}.part")
    index_part.write_text(json.dumps({"kept": kept, "skipped": skipped, "offsets": offsets}), encoding="utf-8")
    index_part.replace(index_path)
