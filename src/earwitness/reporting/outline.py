"""What a recording looks like, for the figures of a report: its envelope, its spectrogram, and the hash of its sound.

    outliner = Outliner(duration_s=output.duration_s)
    for block in media:
        outliner.push(block)
    outline = outliner.finish()

Constant memory and one pass, whatever the length: the number of columns is fixed, and of a long recording each
column shows a few moments (spectrogram) or the extremes (envelope) of its time.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.waveform import SAMPLE_RATE_HZ, Samples, sample_count, seconds

ENVELOPE_COLUMNS = 900  # about what a printed line of 170 mm can show
SPECTROGRAM_COLUMNS = 600
FRAME_SAMPLES = 512  # 32 ms: harmonics of low voices are told apart
SHORTEST_HOP_SAMPLES = 40  # 2.5 ms
FRAMES_PER_COLUMN = 4  # of a long recording: enough that a column is no single moment
NO_POWER = 1e-20  # under the rounding of any format
DYNAMIC_RANGE_DB = 70.0  # below the loudest: paper shows no more


@dataclass(frozen=True, slots=True)
class Outline:
    duration_s: float
    waveform_sha256: str
    """Of the decoded sound: mono, 16 kHz, float32 little-endian, from the first sample to the last."""
    low: NDArray[np.float32]
    """(columns,): smallest sample of each stretch of equal length; the last may be shorter."""
    high: NDArray[np.float32]
    column_s: float
    """Length of one column of the envelope."""
    spectrogram_db: NDArray[np.float32]
    """(frequencies, columns), 0 to 8 kHz from the first row on, in dB under the loudest, 0 to -`DYNAMIC_RANGE_DB`."""
    spectrogram_s: float
    """Time that the spectrogram's columns span together: a little more than the duration."""


class Outliner:
    """Takes blocks of sound in order; `duration_s` says how much is to come and only scales the columns."""

    def __init__(self, duration_s: float) -> None:
        total = max(sample_count(duration_s), 1)
        self._samples = 0
        self._digest = hashlib.sha256()
        self._step = math.ceil(total / ENVELOPE_COLUMNS)
        self._low: list[NDArray[np.float32]] = []
        self._high: list[NDArray[np.float32]] = []
        self._envelope_rest = np.zeros(0, dtype=np.float32)
        column = math.ceil(total / SPECTROGRAM_COLUMNS)
        self._frames_per_column = min(max(column // SHORTEST_HOP_SAMPLES, 1), FRAMES_PER_COLUMN)
        self._hop = max(math.ceil(column / self._frames_per_column), SHORTEST_HOP_SAMPLES)
        self._power: list[NDArray[np.float64]] = []
        self._frame_rest = np.zeros(0, dtype=np.float32)
        self._skip = 0
        """Samples to pass over before the next frame begins: of a long recording most are."""
        self._taper = np.hanning(FRAME_SAMPLES)

    def push(self, block: Samples) -> None:
        self._samples += block.size
        self._digest.update(np.ascontiguousarray(block, dtype="<f4").tobytes())
        self._push_envelope(block)
        self._push_frames(block)

    def finish(self) -> Outline:
        """Raises ValueError where no sound came."""
        if self._samples == 0:
            raise ValueError("a recording without sound has no outline")
        if self._envelope_rest.size:
            self._low.append(self._envelope_rest.min(keepdims=True))
            self._high.append(self._envelope_rest.max(keepdims=True))
        self._push_frames(np.zeros(FRAME_SAMPLES, dtype=np.float32))  # the last frames need something behind them
        frames = math.ceil(self._samples / self._hop)
        power = np.concatenate(self._power)[:frames]
        starts = np.arange(0, frames, self._frames_per_column)
        counts = np.diff(np.append(starts, frames))[:, np.newaxis]
        level_db = 10.0 * np.log10(np.add.reduceat(power, starts) / counts + NO_POWER)
        loudest_db = max(
            float(level_db.max()), 10.0 * math.log10(NO_POWER) + DYNAMIC_RANGE_DB
        )  # silence is drawn white
        relative = np.clip(level_db - loudest_db, -DYNAMIC_RANGE_DB, 0.0).T
        return Outline(
            duration_s=seconds(self._samples),
            waveform_sha256=self._digest.hexdigest(),
            low=np.concatenate(self._low),
            high=np.concatenate(self._high),
            column_s=self._step / SAMPLE_RATE_HZ,
            spectrogram_db=relative.astype(np.float32),
            spectrogram_s=starts.size * self._frames_per_column * self._hop / SAMPLE_RATE_HZ,
        )

    def _push_envelope(self, block: Samples) -> None:
        held = np.concatenate((self._envelope_rest, block))
        whole = held.size - held.size % self._step
        if whole:
            columns = held[:whole].reshape(-1, self._step)
            self._low.append(columns.min(axis=1))
            self._high.append(columns.max(axis=1))
        self._envelope_rest = held[whole:]

    def _push_frames(self, block: Samples) -> None:
        held = np.concatenate((self._frame_rest, block))
        if self._skip:
            passed = min(self._skip, held.size)
            held, self._skip = held[passed:], self._skip - passed
        count = max((held.size - FRAME_SAMPLES) // self._hop + 1, 0)
        if count:
            frames = np.lib.stride_tricks.sliding_window_view(held, FRAME_SAMPLES)[:: self._hop][:count]
            self._power.append(np.abs(np.fft.rfft(frames * self._taper)) ** 2)
        used = count * self._hop
        self._skip += max(used - held.size, 0)
        self._frame_rest = held[used:]
