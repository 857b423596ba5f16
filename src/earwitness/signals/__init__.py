"""Measurable properties of a recording: one concern a file, a unit and a reference with every value.

    listener = Listener()
    listener.push(block, spoken)            # as the sound comes; spoken: the voice detector's flags
    listener.finish(last_flag)
    signals = listener.signals(context)     # always the same names in the same order

Deterministic, in one pass and in constant memory; nothing depends on how a recording is cut into blocks. No signal
decides anything: the detector's score does. How to add one stands in CONTRIBUTING.md; what each one says, and what
it does not, in docs/signals.md.
"""

import numpy as np
from numpy.typing import NDArray

from earwitness.grounds import Signal
from earwitness.signals.agreement import Agreement
from earwitness.signals.bandwidth import Bandwidth
from earwitness.signals.clipping import Clipping
from earwitness.signals.codec import CodecTraces
from earwitness.signals.dc import DcOffset
from earwitness.signals.distance import Distance
from earwitness.signals.energy import Energy
from earwitness.signals.frames import FrameCutter
from earwitness.signals.group_delay import GroupDelay
from earwitness.signals.high_band import HighBand
from earwitness.signals.meter import Context, Meter
from earwitness.signals.noise_floor import NoiseFloor
from earwitness.signals.pauses import Pauses
from earwitness.signals.pitch import Pitch
from earwitness.signals.silence import Silence
from earwitness.signals.spectral_flux import SpectralFlux
from earwitness.signals.speech import Speech
from earwitness.waveform import Samples

METERS: tuple[type[Meter], ...] = (
    Pitch,
    SpectralFlux,
    Energy,
    Pauses,
    GroupDelay,
    HighBand,
    Bandwidth,
    CodecTraces,
    NoiseFloor,
    Silence,
    Speech,
    Clipping,
    DcOffset,
    Distance,
    Agreement,
)
"""In the order of a report's table."""


class Listener:
    """All meters over one recording."""

    def __init__(self) -> None:
        self._cutter = FrameCutter()
        self._meters = tuple(make() for make in METERS)

    def push(self, block: Samples, spoken: NDArray[np.bool_]) -> None:
        """Hear a block of any length; `spoken` has a flag for each 32 ms chunk that is complete with it."""
        for frames in self._cutter.push(block, spoken):
            for meter in self._meters:
                meter.push(frames)

    def finish(self, spoken: NDArray[np.bool_]) -> None:
        """Hear what is left; `spoken` has the flag of the incomplete chunk at the end, where there is one."""
        for frames in self._cutter.finish(spoken):
            for meter in self._meters:
                meter.push(frames)

    def signals(self, context: Context) -> tuple[Signal, ...]:
        return tuple(signal for meter in self._meters for signal in meter.signals(context))
