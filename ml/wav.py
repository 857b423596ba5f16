"""Waveforms as 16-bit numbers, and as WAV files of them."""

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.waveform import SAMPLE_RATE_HZ, Samples

INT16_FULL_SCALE = 32767


def to_pcm16(samples: Samples) -> NDArray[np.int16]:
    """Rounded to 16 bits; beyond full scale is clipped."""
    return np.round(np.clip(samples, -1.0, 1.0) * INT16_FULL_SCALE).astype(np.int16)


def write_wav(path: Path, samples: Samples) -> None:
    """`samples` beyond full scale are clipped."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(to_pcm16(samples).astype("<i2").tobytes())
