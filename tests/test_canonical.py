import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.canonical import (
    BAND_HIGH_HZ,
    BAND_LOW_HZ,
    EDGE_WIDTH_HZ,
    MAX_GAIN_DB,
    TARGET_LEVEL_DBFS,
    canonicalise,
)
from earwitness.waveform import SAMPLE_RATE_HZ, Samples, rms_dbfs


def noise(seed: int = 0, size: int = 16_000, level: float = 0.1) -> Samples:
    return np.random.default_rng(seed).normal(0, level, size).astype(np.float32)


def tone(frequency_hz: float) -> Samples:
    return np.sin(2 * np.pi * frequency_hz * np.arange(32_000) / SAMPLE_RATE_HZ).astype(np.float32)


seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds, gain=st.floats(1e-2, 30.0))
@settings(max_examples=30)
def test_the_recording_level_leaves_no_trace(seed: int, gain: float) -> None:
    quiet = canonicalise(noise(seed)).samples
    loud = canonicalise(noise(seed) * np.float32(gain)).samples
    np.testing.assert_allclose(loud, quiet, atol=2e-5)


@given(seed=seeds, offset=st.floats(-0.5, 0.5))
@settings(max_examples=30)
def test_dc_leaves_no_trace_away_from_the_edges(seed: int, offset: float) -> None:
    inner = slice(2_000, -2_000)  # a step from nothing to DC at the edges is sound, not DC
    plain = canonicalise(noise(seed)).samples[inner]
    shifted = canonicalise(noise(seed) + np.float32(offset)).samples[inner]
    difference = shifted / np.std(shifted) - plain / np.std(plain)
    assert float(np.sqrt(np.mean(difference**2))) < 0.05


@given(seed=seeds, size=st.integers(1, 20_000))
@settings(max_examples=30)
def test_shape_type_and_finiteness(seed: int, size: int) -> None:
    view = canonicalise(noise(seed, size))
    assert view.samples.shape == (size,)
    assert view.samples.dtype == np.float32
    assert np.isfinite(view.samples).all()
    assert view.gain_db <= MAX_GAIN_DB


def test_the_same_sound_gives_the_same_bytes() -> None:
    assert canonicalise(noise()).samples.tobytes() == canonicalise(noise()).samples.tobytes()


def test_the_input_is_left_alone() -> None:
    samples = noise()
    before = samples.copy()
    canonicalise(samples)
    np.testing.assert_array_equal(samples, before)


def test_the_level_is_reached() -> None:
    assert rms_dbfs(canonicalise(noise()).samples) == pytest.approx(TARGET_LEVEL_DBFS, abs=0.01)


@pytest.mark.parametrize("size", [1, 2, 3, 100, 8_000, 64_000])
def test_silence_stays_silence(size: int) -> None:
    view = canonicalise(np.zeros(size, dtype=np.float32))
    assert not view.samples.any()
    assert view.gain_db == MAX_GAIN_DB


@pytest.mark.parametrize("frequency_hz", [BAND_LOW_HZ - EDGE_WIDTH_HZ, BAND_HIGH_HZ + EDGE_WIDTH_HZ, 7_900.0])
def test_what_lies_outside_the_band_is_gone(frequency_hz: float) -> None:
    mixed = canonicalise(tone(1_000.0) + tone(frequency_hz)).samples
    alone = canonicalise(tone(1_000.0)).samples
    residue = rms_dbfs((mixed - alone)[4_000:-4_000])
    assert residue < TARGET_LEVEL_DBFS - 40.0


@pytest.mark.parametrize("frequency_hz", [BAND_LOW_HZ + EDGE_WIDTH_HZ, 1_000.0, BAND_HIGH_HZ - EDGE_WIDTH_HZ])
def test_what_lies_inside_the_band_keeps_its_share(frequency_hz: float) -> None:
    both = canonicalise(tone(3_000.0) + tone(frequency_hz)).samples
    share = np.abs(np.fft.rfft(both))
    bin_hz = SAMPLE_RATE_HZ / both.size
    assert share[round(frequency_hz / bin_hz)] == pytest.approx(share[round(3_000.0 / bin_hz)], rel=0.02)


def test_the_band_filter_does_not_wrap_around() -> None:
    click_at_the_end = np.zeros(16_000, dtype=np.float32)
    click_at_the_end[-1] = 1.0
    view = canonicalise(click_at_the_end).samples
    assert np.abs(view[:8_000]).max() < 1e-3 * np.abs(view).max()


@pytest.mark.parametrize(
    "samples",
    [np.zeros((2, 10), np.float32), np.zeros(0, np.float32), np.array([0.0, np.nan]), np.array([np.inf, 0.0])],
    ids=["two-dimensional", "empty", "nan", "infinity"],
)
def test_what_is_no_window_is_refused(samples: np.ndarray) -> None:
    with pytest.raises(ValueError, match="window must"):
        canonicalise(samples)
