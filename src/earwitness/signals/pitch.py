"""How high the voice is, and how much it moves: text to speech tends to speak in a narrower range.

The spread is taken within pieces of 3.1 s and pooled, in semitones, so that neither another speaker nor the height
of the voice counts.
"""

import numpy as np

from earwitness.grounds import Signal
from earwitness.signals.frames import Frames
from earwitness.signals.meter import FEWEST_SPEECH_FRAMES, Context
from earwitness.signals.statistics import Histogram, PooledSpread
from earwitness.signals.yin import track

LOWEST_NOTE, HIGHEST_NOTE = 20.0, 80.0  # semitones re 16.35 Hz (C0): 52 Hz to 1.7 kHz
REFERENCE_HZ = 16.352
FARTHEST_SEMITONES = (
    9.0  # from the piece's median: an octave error lies 12 away, lively speech does not reach this
)
FEWEST_VOICED_FRAMES = 20  # a third of a second of voice

PITCH_REFERENCE = (
    "F0 by YIN (de Cheveigné & Kawahara, 2002, J. Acoust. Soc. Am. 111); its statistics as a sign of synthesis: "
    "De Leon, Stewart & Yamagishi, 2012, Interspeech"
)


class Pitch:
    def __init__(self) -> None:
        self._spread = PooledSpread()
        self._notes = Histogram(LOWEST_NOTE, HIGHEST_NOTE, 0.1)
        self._spoken = 0

    def push(self, frames: Frames) -> None:
        self._spoken += int(frames.spoken.sum())
        if not frames.spoken.any():
            return
        f0_hz = track(frames.sound, frames.spoken)
        voiced = f0_hz[~np.isnan(f0_hz)]
        if voiced.size == 0:
            return
        notes = 12.0 * np.log2(voiced / REFERENCE_HZ)
        self._notes.add(notes)
        self._spread.add(notes[np.abs(notes - np.median(notes)) <= FARTHEST_SEMITONES])

    def signals(self, _context: Context) -> tuple[Signal, ...]:
        voiced = self._notes.count
        enough = voiced >= FEWEST_VOICED_FRAMES
        median_hz = REFERENCE_HZ * 2.0 ** (self._notes.percentile(50.0) / 12.0) if enough else None
        spread = self._spread.value(FEWEST_VOICED_FRAMES)
        share = voiced / self._spoken if self._spoken >= FEWEST_SPEECH_FRAMES else None
        return (
            Signal("pitch_sd_semitones", "Pitch variability", spread, "semitones", PITCH_REFERENCE),
            Signal("pitch_median_hz", "Median pitch", median_hz, "Hz", PITCH_REFERENCE),
            Signal("voiced_share", "Voiced part of the speech", share, "share", PITCH_REFERENCE),
        )
