"""Resampling: the same sound at the same times, at another rate."""

import numpy as np
import pytest

from earwitness.waveform import Samples
from ml.augment.resample import resample


def tone(rate_hz: int, length: int) -> Samples:
    return np.sin(2 * np.pi * 440 * np.arange(length) / rate_hz).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 12_000, 16_000, 44_100, 48_000])
def test_a_tone_is_the_same_tone_at_the_other_rate(rate_hz: int) -> None:
    there = resample(tone(16_000, 16_000), 16_000, rate_hz)
    assert there.dtype == np.float32
    assert there.size == rate_hz
    middle = slice(rate_hz // 10, -rate_hz // 10)  # the edges lack their neighbours
    assert np.abs(there - tone(rate_hz, rate_hz))[middle].max() < 0.005
    back = resample(there, rate_hz, 16_000)
    assert np.abs(back - tone(16_000, 16_000))[1_600:-1_600].max() < 0.01
