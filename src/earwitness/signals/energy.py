"""How much the level of the speech moves, within pieces of 3.1 s: syllables and breath groups make it rise and fall."""

from earwitness.grounds import Signal
from earwitness.signals.frames import Frames
from earwitness.signals.meter import FEWEST_SPEECH_FRAMES, Context
from earwitness.signals.statistics import PooledSpread

ENERGY_REFERENCE = (
    "Standard deviation of the level of 32 ms frames, after the energy contour of Scheirer & Slaney, 1997, ICASSP; "
    "as a trace of breathing: Layton et al., 2024, arXiv:2404.15143"
)


class Energy:
    def __init__(self) -> None:
        self._spread = PooledSpread()

    def push(self, frames: Frames) -> None:
        self._spread.add(frames.level_dbfs[frames.spoken])

    def signals(self, _context: Context) -> tuple[Signal, ...]:
        value = self._spread.value(FEWEST_SPEECH_FRAMES)
        return (Signal("energy_sd_db", "Energy variation", value, "dB", ENERGY_REFERENCE),)
