"""Rooms: RT60 and direct sound as asked, nothing moves in time."""

import numpy as np
import pytest
from scipy import signal

from earwitness.waveform import SAMPLE_RATE_HZ, Samples, rms_dbfs
from ml.augment import NoiseBank
from ml.augment.rooms import RoomConfig, from_direct_path, place_in_room, reverberate, synthetic_response
from ml.tests.speechlike import speechlike


def measured_rt60_s(response: Samples) -> float:
    """Schroeder's backward integration, the slope between -5 and -25 dB, drawn out to -60 dB (ISO 3382-1, T20)."""
    energy = np.cumsum(np.square(response[1:], dtype=np.float64)[::-1])[::-1]
    level_db = 10 * np.log10(energy / energy[0] + 1e-20)
    part = (level_db < -5) & (level_db > -25)
    slope = np.polyfit(np.flatnonzero(part) / SAMPLE_RATE_HZ, level_db[part], 1)[0]
    return float(-60.0 / slope)


@pytest.mark.parametrize("rt60_s", [0.1, 0.3, 0.6, 0.9])
def test_rt60_is_about_what_was_asked(rt60_s: float) -> None:
    measured = [measured_rt60_s(synthetic_response(rt60_s, 0.0, np.random.default_rng(seed))) for seed in range(5)]
    assert np.mean(measured) == pytest.approx(rt60_s, rel=0.1)


@pytest.mark.parametrize("ratio_db", [-3.0, 0.0, 12.0])
def test_the_direct_to_reverberant_ratio_is_what_was_asked(ratio_db: float) -> None:
    response = synthetic_response(0.5, ratio_db, np.random.default_rng(1))
    assert response[0] == 1.0
    assert -10 * np.log10(np.sum(np.square(response[1:]))) == pytest.approx(ratio_db, abs=0.01)


def test_a_measured_response_starts_at_its_direct_path() -> None:
    response = synthetic_response(0.3, 6.0, np.random.default_rng(2))
    late = np.concatenate((np.full(777, 1e-3, dtype=np.float32), -response))
    assert np.array_equal(from_direct_path(late), -response)


@pytest.mark.parametrize("measured_share", [0.0, 1.0])
def test_the_direct_sound_stays_where_it_was_and_the_level_too(measured_share: float) -> None:
    rng = np.random.default_rng(3)
    late = np.pad(synthetic_response(0.4, 6.0, rng), (500, 0))
    config = RoomConfig(measured_share=measured_share, direct_to_reverberant_db=(3.0, 15.0))
    for seed in range(6):
        clip = speechlike(2.0, seed)
        wet = place_in_room(clip, rng, config, NoiseBank(rooms=(late,)))
        correlation = signal.correlate(wet, clip, method="fft")
        assert int(np.argmax(correlation)) - (clip.size - 1) == 0
        assert wet.shape == clip.shape
        assert rms_dbfs(wet) == pytest.approx(rms_dbfs(clip), abs=0.01)


def test_a_room_without_walls_changes_nothing() -> None:
    clip = speechlike(0.5)
    dry = reverberate(clip, np.eye(1, 400, dtype=np.float32)[0])
    assert np.abs(dry - clip).max() < 1e-6
