"""How often the speaker pauses, and whether the pauses hold anything: breath, lips, a room.

No breath is recognised as such; what is measured is how much of the pauses rises above their own noise floor.
"""

import numpy as np

from earwitness.grounds import Signal
from earwitness.signals.frames import HOP_S, Frames
from earwitness.signals.meter import FEWEST_PAUSE_FRAMES, FEWEST_SPEECH_FRAMES, Context
from earwitness.signals.noise_floor import FLOOR_PERCENTILE, level_histogram

SHORTEST_PAUSE_S = 0.15  # the closure of a stop consonant is shorter
SHORTEST_PAUSE_FRAMES = round(SHORTEST_PAUSE_S / HOP_S)
ABOVE_FLOOR_DB = 6.0  # twice the amplitude of the noise
BREATH_REFERENCE = "Breath as a sign of human speech: Layton et al., 2024, arXiv:2404.15143; here a proxy by level"


class Pauses:
    def __init__(self) -> None:
        self._levels = level_histogram()
        self._spoken = 0
        self._pauses = 0
        self._silent_for: int | None = None  # frames since somebody spoke; None before anybody did

    def push(self, frames: Frames) -> None:
        self._levels.add(frames.level_dbfs[~frames.spoken])
        self._spoken += int(frames.spoken.sum())
        talking = np.flatnonzero(frames.spoken)
        if talking.size == 0:
            if self._silent_for is not None:
                self._silent_for += frames.spoken.size
            return
        between = np.diff(talking) - 1
        if self._silent_for is not None:
            between = np.append(between, self._silent_for + talking[0])
        self._pauses += int(np.count_nonzero(between >= SHORTEST_PAUSE_FRAMES))
        self._silent_for = int(frames.spoken.size - 1 - talking[-1])

    def signals(self, _context: Context) -> tuple[Signal, ...]:
        rate, breath = None, None
        if self._spoken >= FEWEST_SPEECH_FRAMES:
            rate = self._pauses / (self._spoken * HOP_S / 60.0)
        if self._levels.count >= FEWEST_PAUSE_FRAMES:
            floor_dbfs = self._levels.percentile(FLOOR_PERCENTILE)
            breath = self._levels.share_above(floor_dbfs + ABOVE_FLOOR_DB)
        return (
            Signal("pauses_per_min", "Pauses per minute of speech", rate, "per minute", BREATH_REFERENCE),
            Signal("breath_share", "Pauses with breath or other sound", breath, "share", BREATH_REFERENCE),
        )
