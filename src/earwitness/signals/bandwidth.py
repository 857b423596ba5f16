"""How high the speech reaches, and whether it ends in an edge: filters of codecs and telephones are steep."""

import numpy as np
from numpy.typing import NDArray

from earwitness.grounds import Signal
from earwitness.signals.frames import BIN_HZ, Frames, SpeechSpectrum
from earwitness.signals.meter import FEWEST_SPEECH_FRAMES, Context
from earwitness.suitability import carried_hz

LOWEST_EDGE_HZ = 1_500.0  # below, formants make steps of their own
HIGHEST_EDGE_HZ = 7_500.0  # so that there is a band beyond the edge to compare with
EDGE_HZ = 250.0  # width of the bands compared, on both sides of a gap of as much
FLOOR_DB = -110.0  # under the strongest bin: the rounding of 16-bit files is not an edge
BANDWIDTH_REFERENCE = (
    "Highest frequency at which the long-term spectrum of the speech is within 55 dB of its maximum; after "
    "D'Alessandro & Shi, 2009, ACM MM&Sec (cut-off frequencies tell the bit rate of MP3)"
)
CUTOFF_REFERENCE = (
    "Steepest fall of the long-term spectrum of the speech over 500 Hz; after D'Alessandro & Shi, 2009, ACM MM&Sec"
)


class Bandwidth:
    def __init__(self) -> None:
        self._speech = SpeechSpectrum()

    def push(self, frames: Frames) -> None:
        self._speech.push(frames)

    def signals(self, context: Context) -> tuple[Signal, ...]:
        edge_hz, drop_db = None, None
        if self._speech.frames >= FEWEST_SPEECH_FRAMES and self._speech.power.max() > 0.0:
            edge_hz, drop_db = steepest_fall(self._speech.power)
            edge_hz = min(edge_hz, carried_hz(context.media))
        return (
            Signal("bandwidth_hz", "Bandwidth", context.measured.bandwidth_hz, "Hz", BANDWIDTH_REFERENCE),
            Signal("cutoff_hz", "Steepest edge", edge_hz, "Hz", CUTOFF_REFERENCE),
            Signal("cutoff_drop_db", "Fall at the steepest edge", drop_db, "dB", CUTOFF_REFERENCE),
        )


def steepest_fall(power: NDArray[np.float64]) -> tuple[float, float]:
    """Where (Hz, half-way down) and how deep (dB) a spectrum, shape (FRAME_SAMPLES // 2 + 1,), falls most steeply."""
    level_db = 10.0 * np.log10(np.maximum(power / power.max(), 10.0 ** (FLOOR_DB / 10.0)))
    width = round(EDGE_HZ / BIN_HZ)
    smooth = np.convolve(level_db, np.full(width, 1.0 / width), mode="valid")  # smooth[i]: bins i to i + width - 1
    edges = np.arange(round(LOWEST_EDGE_HZ / BIN_HZ), round(HIGHEST_EDGE_HZ / BIN_HZ))
    gap = width // 2
    fall_db = smooth[edges - gap - width] - smooth[np.minimum(edges + gap, smooth.size - 1)]
    steepest = int(fall_db.argmax())
    around = np.arange(edges[steepest] - gap - width, min(edges[steepest] + gap + width, level_db.size))
    half_way_db = smooth[edges[steepest] - gap - width] - fall_db[steepest] / 2.0
    above = around[level_db[around] >= half_way_db]
    return float((above[-1] if above.size else edges[steepest]) * BIN_HZ), max(float(fall_db[steepest]), 0.0)
