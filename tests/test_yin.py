import numpy as np
import pytest
from numpy.typing import NDArray

from earwitness.signals.frames import HOP_SAMPLES
from earwitness.signals.yin import track
from earwitness.waveform import SAMPLE_RATE_HZ, Samples


def pulses(f0_hz: NDArray[np.float64]) -> Samples:
    """A buzz of ten harmonics that follows `f0_hz`, one value a sample."""
    phase = 2 * np.pi * np.cumsum(f0_hz) / SAMPLE_RATE_HZ
    return (0.1 * sum(np.cos(n * phase) / n for n in range(1, 11))).astype(np.float32)


def tracked(sound: Samples) -> NDArray[np.float64]:
    return track(sound, np.ones(sound.size // HOP_SAMPLES - 4, np.bool_))


@pytest.mark.parametrize("f0_hz", [62.0, 80.0, 110.0, 180.0, 250.0, 330.0, 440.0, 490.0])
def test_a_steady_voice_is_found_to_a_fifth_of_a_semitone(f0_hz: float) -> None:
    found = tracked(pulses(np.full(16_000, f0_hz)))
    assert np.abs(12 * np.log2(found / f0_hz)).max() < 0.2


def test_a_gliding_voice_is_followed() -> None:
    f0_hz = np.linspace(100.0, 200.0, 32_000)
    found = tracked(pulses(f0_hz))
    middle = np.arange(found.size) * HOP_SAMPLES + 370  # of the 46 ms that are looked at
    assert np.abs(12 * np.log2(found / f0_hz[middle])).max() < 0.5


def test_a_missing_fundamental_is_heard_all_the_same() -> None:
    phase = 2 * np.pi * 120.0 * np.arange(16_000) / SAMPLE_RATE_HZ
    telephone = sum(np.cos(n * phase) for n in range(3, 10)).astype(np.float32) * 0.05
    assert np.nanmedian(tracked(telephone)) == pytest.approx(120.0, rel=0.01)


@pytest.mark.parametrize(
    "sound",
    [np.zeros(16_000, np.float32), np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)],
    ids=["silence", "noise"],
)
def test_what_has_no_period_has_no_pitch(sound: Samples) -> None:
    assert np.isnan(tracked(sound)).mean() > 0.95


def test_level_and_noise_30_db_below_do_not_matter() -> None:
    sound = pulses(np.full(16_000, 140.0))
    noise = np.random.default_rng(1).normal(0, 0.03 * sound.std(), sound.size)
    found = tracked(((sound + noise) * 0.003).astype(np.float32))
    assert np.abs(12 * np.log2(found / 140.0)).max() < 0.3


@pytest.mark.parametrize("size", [1, 300, 800])
def test_sound_beyond_the_end_counts_as_silence(size: int) -> None:
    assert track(np.zeros(size, np.float32), np.ones(3, np.bool_)).shape == (3,)


def test_what_is_not_wanted_is_not_looked_at_and_changes_nothing_of_the_rest() -> None:
    """A neighbour that must agree is looked at all the same: the first and the last frame of a word have one each."""
    sound = pulses(np.concatenate((np.full(8_000, 130.0), np.full(8_000, 210.0))))
    everywhere = tracked(sound)
    wanted = np.zeros(everywhere.size, np.bool_)
    wanted[[0, 7, 8, 20, -1]] = True
    found = track(sound, wanted)
    assert np.isnan(found[~wanted]).all()
    np.testing.assert_allclose(found[wanted], everywhere[wanted], rtol=1e-6)
    assert not np.isnan(found[[7, 8, 20]]).any()
    assert np.isnan(track(sound, np.zeros(9, np.bool_))).all()
