"""A stream of sound as pieces of overlapping frames, with what several signals need of them, computed once.

    cutter = FrameCutter()
    for block, spoken in ...:               # spoken: one flag for each 32 ms chunk that the block completed
        for frames in cutter.push(block, spoken):
            meter.push(frames)
    for frames in cutter.finish(spoken):
        meter.push(frames)

Frames of 32 ms every 16 ms (the usual grid of speech analysis), in pieces of 3.1 s. Pieces begin at fixed moments
of the recording, so nothing depends on how it is cut into blocks. At most one piece and one block are held.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.vad import CHUNK_SAMPLES
from earwitness.waveform import SAMPLE_RATE_HZ, SILENCE_DBFS, Samples

FRAME_SAMPLES = CHUNK_SAMPLES  # 32 ms: two periods of a 63 Hz voice
HOP_SAMPLES = FRAME_SAMPLES // 2
HOP_S = HOP_SAMPLES / SAMPLE_RATE_HZ
PIECE_CHUNKS = 96  # 3.1 s, a phrase: the length over which variability is measured, and of the corpus' clips
PIECE_SAMPLES = PIECE_CHUNKS * CHUNK_SAMPLES
LOOKAHEAD_SAMPLES = CHUNK_SAMPLES  # the last frames of a piece reach into the next one
BIN_HZ = SAMPLE_RATE_HZ / FRAME_SAMPLES
TAPER: NDArray[np.float32] = np.hanning(FRAME_SAMPLES + 1)[:-1].astype(np.float32)
TAPER.setflags(write=False)


@dataclass(frozen=True, slots=True)
class Frames:
    """Consecutive frames of one piece; every sample of a recording is `fresh` in exactly one piece."""

    fresh: Samples
    """(samples,): the piece's own sound."""
    sound: Samples
    """(samples + LOOKAHEAD_SAMPLES,): the same and what comes after, zeros beyond the end of the recording."""
    windows: NDArray[np.float32]
    """(count, FRAME_SAMPLES): a view into `sound`."""
    spectrum: NDArray[np.complex64]
    """(count, FRAME_SAMPLES // 2 + 1): of the tapered frames without their mean."""
    power: NDArray[np.float32]
    """(count, FRAME_SAMPLES // 2 + 1): squared magnitudes of `spectrum`."""
    level_dbfs: NDArray[np.float64]
    """(count,): without the frame's mean; 0 is a square wave at full scale."""
    spoken: NDArray[np.bool_]
    """(count,): every chunk that the frame touches is speech."""


class FrameCutter:
    """Holds what is not yet a whole piece."""

    def __init__(self) -> None:
        self._held: Samples = np.zeros(0, dtype=np.float32)
        self._flags: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)

    def push(self, block: Samples, spoken: NDArray[np.bool_]) -> Iterator[Frames]:
        """Take a block of any length and the flags of the chunks that are complete with it."""
        self._held = np.concatenate((self._held, block))
        self._flags = np.concatenate((self._flags, spoken))
        while (
            self._held.size >= PIECE_SAMPLES + LOOKAHEAD_SAMPLES and self._flags.size >= PIECE_CHUNKS + 1
        ):  # the flag of the chunk after the piece is needed too
            yield self._cut(PIECE_SAMPLES)

    def finish(self, spoken: NDArray[np.bool_]) -> Iterator[Frames]:
        """What is left: `spoken` holds the flag of the last, incomplete chunk, if there was one."""
        self._flags = np.concatenate((self._flags, spoken))
        while self._held.size:
            yield self._cut(min(self._held.size, PIECE_SAMPLES))

    def _cut(self, size: int) -> Frames:
        sound = self._held[: size + LOOKAHEAD_SAMPLES]
        available = sound.size
        sound = np.pad(sound, (0, size + LOOKAHEAD_SAMPLES - available))
        # Of the end of a recording only whole frames count; a recording shorter than a frame is one frame.
        count = size // HOP_SAMPLES
        count = max(1, min(count, (available - FRAME_SAMPLES) // HOP_SAMPLES + 1))
        flags = self._flags[: PIECE_CHUNKS + 1]
        self._held = self._held[size:]
        self._flags = self._flags[PIECE_CHUNKS:]
        return frames_of(sound[:size], sound, count, flags)


def frames_of(fresh: Samples, sound: Samples, count: int, flags: NDArray[np.bool_]) -> Frames:
    """The first `count` frames of `sound`; `flags` are those of its chunks, missing ones are no speech."""
    windows = np.lib.stride_tricks.sliding_window_view(sound, FRAME_SAMPLES)[::HOP_SAMPLES][:count]
    # A converter's offset is no sound: it would stand in every level, and leak into the lowest bins.
    spectrum = np.fft.rfft((windows - windows.mean(axis=1, keepdims=True)) * TAPER, axis=1).astype(
        np.complex64, copy=False
    )
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    halves = sound[: (count + 1) * HOP_SAMPLES].reshape(-1, HOP_SAMPLES)
    squares = np.square(halves, dtype=np.float64).sum(axis=1)  # every sample is in two frames, and squared once
    sums = halves.sum(axis=1, dtype=np.float64)
    mean, mean_square = ((part[:-1] + part[1:]) / FRAME_SAMPLES for part in (sums, squares))
    level_dbfs = 10.0 * np.log10(np.maximum(mean_square - mean**2, 10.0 ** (SILENCE_DBFS / 10.0)))
    first = np.arange(count) * HOP_SAMPLES // CHUNK_SAMPLES
    last = (np.arange(count) * HOP_SAMPLES + FRAME_SAMPLES - 1) // CHUNK_SAMPLES
    known = np.pad(flags, (0, max(0, int(last[-1]) + 1 - flags.size)))
    return Frames(fresh, sound, windows, spectrum, power, level_dbfs, known[first] & known[last])


class SpeechSpectrum:
    """The long-term power spectrum of the frames that hold speech, summed as they come."""

    def __init__(self) -> None:
        self.power: NDArray[np.float64] = np.zeros(FRAME_SAMPLES // 2 + 1)
        self.frames = 0

    def push(self, frames: Frames) -> None:
        self.power += frames.power[frames.spoken].sum(axis=0, dtype=np.float64)
        self.frames += int(frames.spoken.sum())
