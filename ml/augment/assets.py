"""Recorded noises, room responses and voices, read once and kept in memory.

    bank = NoiseBank.from_folder(Path("../shared/corpus/noise"))

The folder holds `manifest.csv` with the columns `file` and `kind`; kind `rir` is a room response, everything else
is noise. Voices for babble are given by the caller (`with_voices`): they must come from the training split.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from earwitness.errors import InputError
from earwitness.media import read_waveform
from earwitness.waveform import Samples
from ml.augment.spectrum import TINY_RMS, rms

MANIFEST_NAME = "manifest.csv"
ROOM_KIND = "rir"


@dataclass(frozen=True, slots=True)
class NoiseBank:
    """Waveforms of any lengths. Empty parts are allowed: what needs them is then skipped or made synthetically."""

    noises: tuple[Samples, ...] = ()
    rooms: tuple[Samples, ...] = ()
    """Measured room responses as recorded; `ml.augment.rooms` cuts them at their direct path."""
    voices: tuple[Samples, ...] = ()
    """Speech clips to make babble of."""

    @classmethod
    def from_folder(cls, folder: Path) -> "NoiseBank":
        """Read every sound that the folder's manifest names.

        Raises FileNotFoundError where the manifest is missing, ValueError for a manifest without the needed
        columns, without rows, or with a file that is missing, unreadable or silent.
        """
        manifest = folder / MANIFEST_NAME
        if not manifest.is_file():
            raise FileNotFoundError(f"{manifest} is missing: it must list the noise files (columns file, kind)")
        with manifest.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not {"file", "kind"} <= set(reader.fieldnames or ()):
                raise ValueError(f"{manifest} needs the columns file and kind, not {reader.fieldnames}")
            rows = [(folder / row["file"], row["kind"]) for row in reader]
        if not rows:
            raise ValueError(f"{manifest} lists no files")
        noises: list[Samples] = []
        rooms: list[Samples] = []
        for path, kind in rows:
            try:
                sound, _ = read_waveform(path)
            except InputError as error:
                raise ValueError(f"{manifest} lists {path}, which can't be used: {error}") from error
            if rms(sound) < TINY_RMS:
                raise ValueError(f"{path} is silent: remove it from {manifest}")
            (rooms if kind == ROOM_KIND else noises).append(sound)
        return cls(tuple(noises), tuple(rooms))

    def with_voices(self, voices: Iterable[Samples]) -> "NoiseBank":
        """The same bank with speech clips to make babble of; empty and silent ones are left out."""
        return replace(self, voices=tuple(voice for voice in voices if rms(voice) >= TINY_RMS))
