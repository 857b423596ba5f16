"""The constant offset of the samples: converters have one of their own, generated sound mostly none."""

from earwitness.grounds import Signal
from earwitness.signals.frames import Frames
from earwitness.signals.meter import Context
from earwitness.signals.statistics import Mean

DC_REFERENCE = "Mean of the samples; as a trace of the device: Koenig et al., 2013, J. Audio Eng. Soc. 61"


class DcOffset:
    def __init__(self) -> None:
        self._mean = Mean()

    def push(self, frames: Frames) -> None:
        self._mean.add(frames.fresh)

    def signals(self, _context: Context) -> tuple[Signal, ...]:
        return (Signal("dc_offset", "DC offset", self._mean.value(), "full scale", DC_REFERENCE),)
