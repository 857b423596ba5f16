"""How near the sound comes to full scale, and how much of it is cut off there."""

import numpy as np

from earwitness.grounds import Signal
from earwitness.signals.frames import Frames
from earwitness.signals.meter import Context
from earwitness.waveform import SILENCE_DBFS

CLIPPING_REFERENCE = (
    "Samples at 0.99 of full scale or above, after resampling: what is clipped lower is not among them"
)


class Clipping:
    def __init__(self) -> None:
        self._peak: float | None = None

    def push(self, frames: Frames) -> None:
        self._peak = max(self._peak or 0.0, float(np.abs(frames.fresh).max()))

    def signals(self, context: Context) -> tuple[Signal, ...]:
        peak_dbfs = None
        if self._peak is not None:
            peak_dbfs = max(SILENCE_DBFS, 20.0 * float(np.log10(max(self._peak, 1e-9))))
        return (
            Signal(
                "clipped_share",
                "Samples at full scale",
                context.measured.clipped_share,
                "share",
                CLIPPING_REFERENCE,
            ),
            Signal("peak_dbfs", "Peak level", peak_dbfs, "dBFS", CLIPPING_REFERENCE),
        )
