"""The pitch that the parametric vocoders start from: WORLD's DIO, refined by StoneMask (Morise et al., 2009)."""

import numpy as np
import pyworld
from numpy.typing import NDArray

from earwitness.waveform import SAMPLE_RATE_HZ, Samples

PITCH_FLOOR_HZ = 65.0
PITCH_CEILING_HZ = 500.0


def track_pitch(samples: Samples, frame_ms: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pitch in Hz (0 where unvoiced) and the times in seconds, one value every `frame_ms`."""
    sound = samples.astype(np.float64)
    coarse, times = pyworld.dio(
        sound, SAMPLE_RATE_HZ, f0_floor=PITCH_FLOOR_HZ, f0_ceil=PITCH_CEILING_HZ, frame_period=frame_ms
    )
    return pyworld.stonemask(sound, coarse, times, SAMPLE_RATE_HZ), times


def excitation_phase(pitch_hz: NDArray[np.float64], hop: int, length: int) -> NDArray[np.float64]:
    """Phase in periods of the fundamental at each sample; pitch is held across unvoiced stretches."""
    voiced = np.flatnonzero(pitch_hz > 0)
    frames = np.arange(length) / hop
    if voiced.size == 0:
        return np.zeros(length)
    return np.asarray(np.cumsum(np.interp(frames, voiced, pitch_hz[voiced]) / SAMPLE_RATE_HZ))


def voicing(pitch_hz: NDArray[np.float64], hop: int, length: int) -> NDArray[np.float32]:
    """1 where voiced, 0 where not, at each sample, with ramps of one frame between."""
    frames = np.arange(length) / hop
    return np.interp(frames, np.arange(pitch_hz.size), (pitch_hz > 0).astype(np.float64)).astype(np.float32)
