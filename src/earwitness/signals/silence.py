"""How much of the recording is silent, and how much of it holds no sound at all.

No microphone delivers the second; muting, generators, coarse formats, codecs and noise suppression do.
"""

import numpy as np

from earwitness.grounds import Signal
from earwitness.signals.frames import Frames
from earwitness.signals.meter import Context
from earwitness.signals.noise_floor import level_histogram
from earwitness.waveform import SILENCE_DBFS

LOUD_PERCENTILE = 95.0
SILENT_BELOW_DB = 40.0  # under the loud frames: inaudible beside them
SILENCE_REFERENCE = "The share of silence as what detectors learn: Müller et al., 2021, arXiv:2106.12914"
DIGITAL_REFERENCE = "Frames whose samples are all equal: quieter than any converter"


class Silence:
    def __init__(self) -> None:
        self._levels = level_histogram()
        self._frames = 0
        self._constant = 0

    def push(self, frames: Frames) -> None:
        self._levels.add(frames.level_dbfs)
        self._frames += frames.level_dbfs.size
        self._constant += int(np.count_nonzero(np.ptp(frames.windows, axis=1) == 0.0))

    def signals(self, _context: Context) -> tuple[Signal, ...]:
        silent, constant = None, None
        if self._frames:
            loud_dbfs = self._levels.percentile(LOUD_PERCENTILE)
            silent = 1.0 - self._levels.share_above(max(loud_dbfs - SILENT_BELOW_DB, SILENCE_DBFS))
            constant = self._constant / self._frames
        return (
            Signal("silence_share", "Silence", silent, "share", SILENCE_REFERENCE),
            Signal("digital_silence_share", "Digital silence", constant, "share", DIGITAL_REFERENCE),
        )
