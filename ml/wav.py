"""Write a waveform as a 16-bit WAV file."""

import wave
from pathlib import Path

import numpy as np

from earwitness.waveform import SAMPLE_RATE_HZ, Samples

INT16_FULL_SCALE = 32767


def write_wav(path: Path, samples: Samples) -> None:
    """`samples` beyond full scale are clipped."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(np.round(np.clip(samples, -1.0, 1.0) * INT16_FULL_SCALE).astype("<i2").tobytes())
