"""The noise between the words, and how steady it is: a room breathes, a generator's silence may not.

The floor is the 10th percentile of the levels in pauses (of all frames where nobody pauses); its unsteadiness the
distance from there to their median.
"""

from earwitness.grounds import Signal
from earwitness.signals.frames import Frames
from earwitness.signals.meter import FEWEST_PAUSE_FRAMES, Context
from earwitness.signals.statistics import Histogram
from earwitness.waveform import SILENCE_DBFS

FLOOR_PERCENTILE = 10.0
LOUDEST_DBFS = 100.0  # a float file may lie above full scale
LEVEL_STEP_DB = 0.25
FLOOR_REFERENCE = (
    "Percentiles of frame levels; local noise levels as evidence: Pan, Zhang & Lyu, 2012, ICASSP; silence as what "
    "detectors learn: Müller et al., 2021, arXiv:2106.12914"
)


def level_histogram() -> Histogram:
    return Histogram(SILENCE_DBFS, LOUDEST_DBFS, LEVEL_STEP_DB)


class NoiseFloor:
    def __init__(self) -> None:
        self._pauses = level_histogram()
        self._all = level_histogram()

    def push(self, frames: Frames) -> None:
        self._pauses.add(frames.level_dbfs[~frames.spoken])
        self._all.add(frames.level_dbfs)

    def signals(self, _context: Context) -> tuple[Signal, ...]:
        floor_dbfs, spread_db = None, None
        if self._pauses.count >= FEWEST_PAUSE_FRAMES:
            floor_dbfs = self._pauses.percentile(FLOOR_PERCENTILE)
            spread_db = self._pauses.percentile(50.0) - floor_dbfs
        elif self._all.count:
            floor_dbfs = self._all.percentile(FLOOR_PERCENTILE)
        return (
            Signal("noise_floor_dbfs", "Noise floor", floor_dbfs, "dBFS", FLOOR_REFERENCE),
            Signal("noise_spread_db", "Unsteadiness of the noise", spread_db, "dB", FLOOR_REFERENCE),
        )
