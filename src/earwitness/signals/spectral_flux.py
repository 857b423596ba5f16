"""How much the spectrum changes from one 32 ms frame to the next: vocoders driven by smooth features change less."""

import numpy as np

from earwitness.grounds import Signal
from earwitness.signals.frames import FRAME_SAMPLES, HOP_SAMPLES, Frames
from earwitness.signals.meter import FEWEST_SPEECH_FRAMES, Context
from earwitness.signals.statistics import Mean

STEP = FRAME_SAMPLES // HOP_SAMPLES  # frames that do not overlap
FLUX_REFERENCE = (
    "Euclidean distance of successive magnitude spectra of unit length, 0 to 1.41: Scheirer & Slaney, 1997, ICASSP"
)


class SpectralFlux:
    def __init__(self) -> None:
        self._flux = Mean()

    def push(self, frames: Frames) -> None:
        magnitude = np.sqrt(frames.power)
        length = np.linalg.norm(magnitude, axis=1)
        usable = frames.spoken & (length > 0.0)
        pairs = usable[STEP:] & usable[:-STEP]
        if not pairs.any():
            return
        later, earlier = magnitude[STEP:][pairs], magnitude[:-STEP][pairs]
        change = later / length[STEP:][pairs, np.newaxis] - earlier / length[:-STEP][pairs, np.newaxis]
        self._flux.add(np.linalg.norm(change, axis=1))

    def signals(self, _context: Context) -> tuple[Signal, ...]:
        value = self._flux.value(FEWEST_SPEECH_FRAMES)
        return (Signal("spectral_flux", "Spectral change", value, "1", FLUX_REFERENCE),)
