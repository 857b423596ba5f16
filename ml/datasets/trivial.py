"""What can be measured of a recording without listening to the speech in it.

    measure(samples)            # {"duration_s": 3.0, "leading_silence_s": 0.12, ...}

None of these should tell human speech from synthesis. Where one does, it is the way the corpus was made that tells
(`ml.datasets.shortcuts`).
"""

import numpy as np
from numpy.typing import NDArray

from earwitness.waveform import SAMPLE_RATE_HZ, SILENCE_DBFS, Samples, rms_dbfs, seconds

FRAME = 160  # 10 ms at 16 kHz: the usual resolution for the edges of speech
SILENT_BELOW_LOUDEST_DB = 40.0  # under this, relative to the loudest frame, the edge counts as silence
FLOOR_PERCENTILE = 10.0  # the level that the quietest tenth of the frames stay below
SPECTRUM_SIZE = 512
BAND_EDGE_DB = 60.0  # the band ends where the mean spectrum falls this far below its highest point for good
CLIPPED_AT = 0.999  # of full scale: 16-bit clipping is 32767/32768 = 0.99997, lossy codecs blur it a little

# Each feature and the step that it is rounded to. An AUC looks at ranks alone: without rounding, the last digits of
# levels that the canonical view has made equal would count as differences.
RESOLUTION = {
    "duration_s": 0.01,
    "leading_silence_s": 0.01,
    "trailing_silence_s": 0.01,
    "level_dbfs": 0.1,
    "noise_floor_dbfs": 0.1,
    "bandwidth_hz": SAMPLE_RATE_HZ / SPECTRUM_SIZE,
    "clipped_share": 1e-4,
    "dc": 1e-5,  # a third of the smallest step of 16-bit sound
}
FEATURES = tuple(RESOLUTION)


def measure(samples: Samples) -> dict[str, float]:
    """All of `FEATURES` for a waveform of at least one frame (10 ms); ValueError for less."""
    if samples.size < FRAME:
        raise ValueError(f"a recording of {samples.size} samples is too short to measure; {FRAME} are needed")
    levels = _frame_levels(samples)
    loud = np.flatnonzero(levels > levels.max() - SILENT_BELOW_LOUDEST_DB)
    values = {
        "duration_s": seconds(samples.size),
        "leading_silence_s": seconds(int(loud[0]) * FRAME),
        "trailing_silence_s": seconds((levels.size - 1 - int(loud[-1])) * FRAME),
        "level_dbfs": rms_dbfs(samples),
        "noise_floor_dbfs": float(np.percentile(levels, FLOOR_PERCENTILE)),
        "bandwidth_hz": _bandwidth_hz(samples),
        "clipped_share": float(np.mean(np.abs(samples) >= CLIPPED_AT)),
        "dc": abs(float(np.mean(samples, dtype=np.float64))),
    }
    return {name: round(values[name] / step) * step for name, step in RESOLUTION.items()}


def _frame_levels(samples: Samples) -> NDArray[np.float64]:
    frames = samples[: samples.size // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    power = np.maximum(np.mean(np.square(frames), axis=1), 10.0 ** (SILENCE_DBFS / 10))
    levels: NDArray[np.float64] = 10.0 * np.log10(power)
    return levels


def _bandwidth_hz(samples: Samples) -> float:
    """Upper edge of the band that the recording fills."""
    padded = np.pad(samples, (0, max(0, SPECTRUM_SIZE - samples.size)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, SPECTRUM_SIZE)[:: SPECTRUM_SIZE // 2]
    spectra = np.fft.rfft(frames * np.hanning(SPECTRUM_SIZE).astype(np.float32), axis=1)
    power = np.mean(np.square(np.abs(spectra)), axis=0, dtype=np.float64)
    if power.max() <= 0.0:
        return 0.0
    filled = np.flatnonzero(power > power.max() * 10.0 ** (-BAND_EDGE_DB / 10))
    return float(filled[-1]) * SAMPLE_RATE_HZ / SPECTRUM_SIZE
