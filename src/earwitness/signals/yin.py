"""Fundamental frequency of voiced frames: YIN (de Cheveigné & Kawahara, 2002), all frames of a piece at once.

    f0_hz = track(sound, spoken)        # shape of `spoken`, (count,); NaN where no voice is found

Steps 1 to 5 of the paper (difference function, cumulative mean normalisation, absolute threshold, parabolic
interpolation) on sound at 8 kHz; its sixth step, the search beside the frame, is replaced by asking that neighbouring
frames agree. Why this and no library: docs/adr/0013.
"""

import numpy as np
from numpy.typing import NDArray

from earwitness.signals.frames import HOP_SAMPLES
from earwitness.waveform import SAMPLE_RATE_HZ, Samples

DECIMATION = 2
RATE_HZ = SAMPLE_RATE_HZ // DECIMATION
SLOW_HOP = HOP_SAMPLES // DECIMATION
LOWEST_HZ = 60.0  # deep male voices; below, hum of the mains
HIGHEST_HZ = 500.0  # children and excited voices; above, singing
SHORTEST_LAG = int(RATE_HZ / HIGHEST_HZ)
LONGEST_LAG = int(np.ceil(RATE_HZ / LOWEST_HZ))
SUMMED = 240  # 30 ms: between one and two periods of the lowest voice
NEEDED = SUMMED + LONGEST_LAG
FFT_SIZE = 384  # 2^7 * 3, at least NEEDED: lags up to LONGEST_LAG do not wrap around
THRESHOLD = 0.15  # of the normalised difference; the paper uses 0.1 to 0.15
LARGEST_STEP = 0.2  # from one frame to the next, 16 ms: voices move less, octave errors more
LOW_PASS_TAPS = 31
ROW = 16  # results a row of the product that filters: fewer make more rows, more make more products with zeros
GROUP = 128  # rows a product: larger ones are spread over several threads, and a worker has one core
LOW_PASS_HZ = 1_500.0  # the harmonics that carry the period; hiss and frication above only disturb


def _low_pass() -> NDArray[np.float32]:
    time = np.arange(LOW_PASS_TAPS) - (LOW_PASS_TAPS - 1) / 2
    kernel = np.sinc(2 * LOW_PASS_HZ / SAMPLE_RATE_HZ * time) * np.hamming(LOW_PASS_TAPS)
    taps: NDArray[np.float32] = (kernel / kernel.sum()).astype(np.float32)
    return taps


LOW_PASS = _low_pass()


def _columns() -> NDArray[np.float32]:
    columns = np.zeros((DECIMATION * (ROW - 1) + LOW_PASS_TAPS, ROW), dtype=np.float32)
    for column in range(ROW):
        columns[DECIMATION * column : DECIMATION * column + LOW_PASS_TAPS, column] = LOW_PASS
    return columns


LOW_PASS_COLUMNS = _columns()
LAGS = np.arange(1, LONGEST_LAG + 1, dtype=np.float64)


def track(sound: Samples, wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """F0 in Hz of frames that begin every `HOP_SAMPLES` of `sound`; NaN where there is no voice or no flag in `wanted`.

    Sound beyond the end counts as zeros. A frame counts as voiced where it is periodic and a neighbour agrees, whether
    that one is wanted or not.
    """
    asked = wanted.copy()
    asked[1:] |= wanted[:-1]
    asked[:-1] |= wanted[1:]
    starts = np.flatnonzero(asked) * SLOW_HOP
    f0_hz = np.full(wanted.size, np.nan)
    if starts.size:
        slow = _slow(sound)
        slow = np.pad(slow, (0, max(0, int(starts[-1]) + NEEDED - slow.size)))
        f0_hz[asked] = _periods(_normalised_difference(slow, starts))
    return np.where(wanted, _agreeing(f0_hz), np.nan)


def _slow(sound: Samples) -> Samples:
    """Low-passed, every second sample, shape ((samples + 1) // 2,); the others are not computed.

    As a product of matrices: a row gives ROW results, and each column of `LOW_PASS_COLUMNS` is the filter where one of
    them stands. Half of its products are with zeros, and it is still four times as fast as a convolution.
    """
    count = (sound.size + 1) // DECIMATION
    groups = -(-count // (ROW * GROUP))
    reach = (LOW_PASS_TAPS - 1) // 2
    padded = np.pad(sound, (reach, DECIMATION * ROW * GROUP * groups + LOW_PASS_TAPS - sound.size))
    span = len(LOW_PASS_COLUMNS)
    rows = np.lib.stride_tricks.sliding_window_view(padded, span)[:: DECIMATION * ROW][: groups * GROUP]
    products = np.ascontiguousarray(rows).reshape(groups, GROUP, span) @ LOW_PASS_COLUMNS
    slow: Samples = products.reshape(-1)[:count]
    return slow


def _normalised_difference(slow: Samples, starts: NDArray[np.intp]) -> NDArray[np.float64]:
    """Cumulative-mean-normalised difference of the frames that begin at `starts`, shape (count, LONGEST_LAG + 1):
    equations 6 to 8."""
    # Padded here: where numpy pads, it takes half as long again.
    frames = np.zeros((starts.size, FFT_SIZE), dtype=np.float32)
    frames[:, :NEEDED] = np.lib.stride_tricks.sliding_window_view(slow, NEEDED)[starts]
    spectrum = np.fft.rfft(frames, axis=1)
    frames[:, SUMMED:] = 0.0
    head = np.fft.rfft(frames, axis=1)
    correlation = np.fft.irfft(spectrum * head.conj(), FFT_SIZE, axis=1)[:, : LONGEST_LAG + 1]
    # The energy before each sample: in double, or differences of large sums are noise
    before = np.zeros(slow.size + 1)
    np.cumsum(np.square(slow, dtype=np.float64), out=before[1:])
    energy = before[SUMMED:] - before[:-SUMMED]
    moving = np.lib.stride_tricks.sliding_window_view(energy, LONGEST_LAG + 1)[starts]
    difference = np.maximum(moving[:, :1] + moving - np.float32(2.0) * correlation, 0.0)
    running = np.cumsum(difference[:, 1:], axis=1)
    normalised: NDArray[np.float64] = np.ones_like(difference)
    np.divide(difference[:, 1:] * LAGS, running, out=normalised[:, 1:], where=running > 0.0)
    return normalised


def _periods(normalised: NDArray[np.float64]) -> NDArray[np.float64]:
    """F0 from the first minimum under the threshold, NaN where there is none."""
    inner = normalised[:, SHORTEST_LAG : LONGEST_LAG - 1]
    before = normalised[:, SHORTEST_LAG - 1 : LONGEST_LAG - 2]
    after = normalised[:, SHORTEST_LAG + 1 : LONGEST_LAG]
    dip = (inner < THRESHOLD) & (inner < before) & (inner <= after)
    first = dip.argmax(axis=1)
    rows = np.arange(normalised.shape[0])
    y0, y1, y2 = before[rows, first], inner[rows, first], after[rows, first]
    bend = y0 - 2.0 * y1 + y2
    shift = np.divide(0.5 * (y0 - y2), bend, out=np.zeros_like(bend), where=bend > 0.0)
    f0_hz = RATE_HZ / (SHORTEST_LAG + first + shift)
    return np.where(dip.any(axis=1), f0_hz, np.nan)


def _agreeing(f0_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Drop what no neighbour confirms: octave errors and chance periods stand alone."""
    near = np.zeros(f0_hz.size, dtype=np.bool_)
    if f0_hz.size > 1:
        with np.errstate(invalid="ignore"):
            close = np.abs(np.diff(f0_hz)) <= LARGEST_STEP * np.minimum(f0_hz[1:], f0_hz[:-1])
        near[1:] |= close
        near[:-1] |= close
    return np.where(near, f0_hz, np.nan)
