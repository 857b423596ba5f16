"""How regular the phase is: how far the group delay of the speech's frequencies spreads within a frame.

A vocoder that invents its phases lines the frequencies up, or scatters them, more than a mouth and a room do.
"""

import numpy as np

from earwitness.grounds import Signal
from earwitness.signals.frames import BIN_HZ, FRAME_SAMPLES, TAPER, Frames
from earwitness.signals.meter import FEWEST_SPEECH_FRAMES, Context
from earwitness.signals.statistics import Mean
from earwitness.waveform import SAMPLE_RATE_HZ

BAND = slice(round(300.0 / BIN_HZ), round(4_000.0 / BIN_HZ))  # where every recording has speech
TIME_MS = (np.arange(FRAME_SAMPLES, dtype=np.float32) - FRAME_SAMPLES / 2) / SAMPLE_RATE_HZ * 1000.0
WEIGHTED_TAPER = (TAPER * TIME_MS).astype(np.float32)
GROUP_DELAY_REFERENCE = (
    "Energy-weighted spread of the group delay over 0.3-4 kHz (Murthy & Gadde, 2003, ICASSP; as a sign of converted "
    "speech: Wu, Chng & Li, 2012, Interspeech)"
)


class GroupDelay:
    def __init__(self) -> None:
        self._spread = Mean()

    def push(self, frames: Frames) -> None:
        if not frames.spoken.any():
            return
        energy = frames.power[frames.spoken, BAND].astype(np.float64)
        sounding = energy.sum(axis=1) > 0.0
        if not sounding.any():
            return
        energy = energy[sounding]
        spectrum = frames.spectrum[frames.spoken, BAND][sounding]
        by_time = np.fft.rfft(frames.windows[frames.spoken][sounding] * WEIGHTED_TAPER, axis=1)[:, BAND]
        # Group delay is Re(Y conj X) / |X|^2; weighted by |X|^2 it stays finite where X has a zero.
        delay_energy = (by_time * spectrum.conj()).real.astype(np.float64)
        total = energy.sum(axis=1)
        mean = delay_energy.sum(axis=1) / total
        squares = np.divide(np.square(delay_energy), energy, out=np.zeros_like(energy), where=energy > 0.0)
        variance = squares.sum(axis=1) / total - np.square(mean)
        self._spread.add(np.sqrt(np.maximum(variance, 0.0)))

    def signals(self, _context: Context) -> tuple[Signal, ...]:
        value = self._spread.value(FEWEST_SPEECH_FRAMES)
        return (Signal("group_delay_spread_ms", "Spread of the group delay", value, "ms", GROUP_DELAY_REFERENCE),)
