"""How much of the speech lies above 4 kHz: what vocoders model least well, and codecs take away first."""

import numpy as np

from earwitness.grounds import Signal
from earwitness.signals.frames import BIN_HZ, Frames, SpeechSpectrum
from earwitness.signals.meter import FEWEST_SPEECH_FRAMES, Context

LOW_BAND_HZ = (300.0, 4_000.0)
HIGH_BAND_HZ = (4_000.0, 7_600.0)  # above, resamplers leave their own edge
LOWEST_DB = -120.0  # nothing at all above 4 kHz
HIGH_BAND_REFERENCE = (
    "Energy of 4-7.6 kHz over that of 0.3-4 kHz in speech; high frequencies as the most telling ones: "
    "Sahidullah, Kinnunen & Hanilçi, 2015, Interspeech"
)


class HighBand:
    def __init__(self) -> None:
        self._speech = SpeechSpectrum()

    def push(self, frames: Frames) -> None:
        self._speech.push(frames)

    def signals(self, _context: Context) -> tuple[Signal, ...]:
        value = None
        low = self._speech.power[_bins(LOW_BAND_HZ)].sum()
        if self._speech.frames >= FEWEST_SPEECH_FRAMES and low > 0.0:
            ratio = max(float(self._speech.power[_bins(HIGH_BAND_HZ)].sum() / low), 10.0 ** (LOWEST_DB / 10.0))
            value = 10.0 * float(np.log10(ratio))
        return (Signal("high_band_db", "High-band energy", value, "dB", HIGH_BAND_REFERENCE),)


def _bins(band_hz: tuple[float, float]) -> slice:
    return slice(round(band_hz[0] / BIN_HZ), round(band_hz[1] / BIN_HZ))
