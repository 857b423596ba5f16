import numpy as np
import pytest

from earwitness.waveform import SAMPLE_RATE_HZ, SILENCE_DBFS, db_to_gain, rms_dbfs, sample_count, seconds


def test_a_full_scale_square_wave_is_0_dbfs() -> None:
    assert rms_dbfs(np.array([1, -1] * 100, dtype=np.float32)) == pytest.approx(0.0)


@pytest.mark.parametrize(
    "samples", [np.zeros(0, np.float32), np.zeros(100, np.float32), np.full(9, 1e-9, np.float32)]
)
def test_silence_has_a_finite_level(samples: np.ndarray) -> None:
    assert rms_dbfs(samples) == SILENCE_DBFS


def test_a_gain_in_db_changes_the_level_by_as_much() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 1_000).astype(np.float32)
    assert rms_dbfs(noise * np.float32(db_to_gain(-7.0))) == pytest.approx(rms_dbfs(noise) - 7.0, abs=1e-4)


@pytest.mark.parametrize("count", [0, 1, 7_999, SAMPLE_RATE_HZ, 3 * 3600 * SAMPLE_RATE_HZ + 1])
def test_counts_survive_the_way_through_seconds(count: int) -> None:
    assert sample_count(seconds(count)) == count
