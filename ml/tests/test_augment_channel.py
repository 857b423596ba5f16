"""The line and the masks: each does what its settings say, and leaves the rest alone."""

import numpy as np
import pytest
from scipy import signal

from earwitness.waveform import Samples, rms_dbfs
from ml.augment.channel import (
    BandLimitConfig,
    ClippingConfig,
    GainConfig,
    PacketLossConfig,
    PhoneBandConfig,
    SaturationConfig,
    apply_gain,
    clip_peaks,
    limit_band,
    lose_packets,
    phone_band,
    saturate,
    tilt,
)
from ml.augment.masking import FrequencyMaskConfig, TimeMaskConfig, mask_bands, mask_time, stop_band
from ml.augment.rawboost import RawBoostConfig, convolutive_noise, impulsive_noise, notch_filtered, rawboost
from ml.tests.speechlike import speechlike


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(8)


@pytest.fixture(scope="module")
def hiss() -> Samples:
    return 0.1 * np.random.default_rng(0).standard_normal(64_000).astype(np.float32)


def band_power_db(samples: Samples, low_hz: float, high_hz: float) -> float:
    frequency_hz, power = signal.welch(samples, 16_000, nperseg=1_024)
    return float(10 * np.log10(power[(frequency_hz >= low_hz) & (frequency_hz <= high_hz)].mean()))


def changed_db(after: Samples, before: Samples, low_hz: float, high_hz: float) -> float:
    return band_power_db(after, low_hz, high_hz) - band_power_db(before, low_hz, high_hz)


def test_gain_stays_in_its_range(rng: np.random.Generator) -> None:
    clip = speechlike(0.3)
    steps_db = [
        rms_dbfs(apply_gain(clip, rng, GainConfig(gain_db=(-9.0, 3.0)))) - rms_dbfs(clip) for _ in range(200)
    ]
    assert -9.01 < min(steps_db) < -8
    assert 2 < max(steps_db) < 3.01


@pytest.mark.parametrize("db_per_octave", [-2.0, 2.0])
def test_tilt_is_what_was_asked(hiss: Samples, db_per_octave: float) -> None:
    tilted = tilt(hiss, db_per_octave)
    over_three_octaves = changed_db(tilted, hiss, 3_900, 4_100) - changed_db(tilted, hiss, 450, 550)
    assert over_three_octaves == pytest.approx(3 * db_per_octave, abs=0.5)
    assert rms_dbfs(tilted) == pytest.approx(rms_dbfs(hiss), abs=0.01)


def test_clipping_cuts_the_asked_share_and_only_the_peaks(rng: np.random.Generator, hiss: Samples) -> None:
    clipped = clip_peaks(hiss, rng, ClippingConfig(clipped_share=(0.01, 0.01)))
    ceiling = np.abs(clipped).max()
    assert (np.abs(clipped) == ceiling).mean() == pytest.approx(0.01, abs=0.001)
    below = np.abs(hiss) < ceiling
    assert np.array_equal(clipped[below], hiss[below])


def test_saturation_lowers_the_crest_and_keeps_the_level(rng: np.random.Generator) -> None:
    clip = speechlike(1.0)
    soft = saturate(clip, rng, SaturationConfig(drive=(2.0, 2.0)))
    assert np.abs(soft).max() < 0.95 * np.abs(clip).max()
    assert rms_dbfs(soft) == pytest.approx(rms_dbfs(clip), abs=0.01)
    assert np.array_equal(np.sign(soft), np.sign(clip))


def test_the_phone_band_is_300_to_3400_hz(rng: np.random.Generator, hiss: Samples) -> None:
    through = phone_band(hiss, rng, PhoneBandConfig())
    assert changed_db(through, hiss, 500, 3_200) == pytest.approx(0.0, abs=0.3)
    assert changed_db(through, hiss, 50, 150) < -40
    assert changed_db(through, hiss, 3_700, 7_900) < -40


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 12_000])
def test_a_band_limit_cuts_at_half_its_rate_and_moves_nothing(rate_hz: int, rng: np.random.Generator) -> None:
    hiss = 0.1 * rng.standard_normal(32_001).astype(np.float32)
    limited = limit_band(hiss, rng, BandLimitConfig(rates_hz=(rate_hz,)))
    assert limited.shape == hiss.shape
    assert changed_db(limited, hiss, 300, 0.8 * rate_hz / 2) == pytest.approx(0.0, abs=0.5)
    assert changed_db(limited, hiss, 1.25 * rate_hz / 2, 7_900) < -30
    assert int(np.argmax(signal.correlate(limited, hiss, method="fft"))) == hiss.size - 1


@pytest.mark.parametrize("loss", [0.02, 0.2])
def test_packets_are_lost_as_often_as_asked(loss: float, rng: np.random.Generator) -> None:
    tone = np.full(160_000, 0.5, dtype=np.float32)
    config = PacketLossConfig(packet_ms=(20.0,), loss=(loss, loss), burst=(2.0, 2.0), repeat_share=0.0)
    lost = np.mean([(lose_packets(tone, rng, config) == 0).mean() for _ in range(20)])
    assert lost == pytest.approx(loss, rel=0.25)


def test_lost_packets_are_concealed_by_the_last_one_fading(rng: np.random.Generator) -> None:
    tone = np.full(160_000, 0.5, dtype=np.float32)
    config = PacketLossConfig(packet_ms=(20.0,), loss=(0.1, 0.1), repeat_share=1.0)
    received = lose_packets(tone, rng, config).reshape(-1, 320)[1:]
    levels = received[received[:, 0] < 0.5, 0]
    assert levels.size > 10
    assert levels.max() == pytest.approx(0.35)
    assert (received == received[:, :1]).all()


def test_time_masks_silence_what_they_say(rng: np.random.Generator) -> None:
    tone = np.full(32_000, 0.5, dtype=np.float32)
    config = TimeMaskConfig(stretches=(1, 1), stretch_s=(0.1, 0.1))
    for _ in range(20):
        masked = mask_time(tone, rng, config)
        assert (masked < 0.5).sum() == pytest.approx(1_600, abs=2)
        assert (masked == 0).sum() == pytest.approx(1_600 - 64, abs=4)
        assert np.abs(np.diff(masked)).max() < 0.02  # no click


def test_time_masks_leave_enough(rng: np.random.Generator) -> None:
    tone = np.full(3_200, 0.5, dtype=np.float32)
    config = TimeMaskConfig(stretches=(3, 3), stretch_s=(0.2, 0.2), largest_share=0.3)
    assert (mask_time(tone, rng, config) == 0.5).mean() >= 0.69


def test_a_stopped_band_is_gone_and_its_neighbours_are_not(hiss: Samples) -> None:
    stopped = stop_band(hiss, 2_000, 3_000)
    assert changed_db(stopped, hiss, 2_100, 2_900) < -40
    assert changed_db(stopped, hiss, 300, 1_900) == pytest.approx(0.0, abs=0.2)
    assert changed_db(stopped, hiss, 3_100, 7_000) == pytest.approx(0.0, abs=0.2)


def test_frequency_masks_are_drawn_within_their_ranges(rng: np.random.Generator, hiss: Samples) -> None:
    config = FrequencyMaskConfig(bands=(1, 1), centre_hz=(4_000.0, 5_000.0), width_hz=(400.0, 400.0))
    masked = mask_bands(hiss, rng, config)
    assert changed_db(masked, hiss, 100, 3_700) == pytest.approx(0.0, abs=0.2)
    assert rms_dbfs(hiss - masked) - rms_dbfs(hiss) == pytest.approx(10 * np.log10(400 / 8_000), abs=1.0)


def test_convolutive_rawboost_makes_overtones_and_no_dc(rng: np.random.Generator) -> None:
    tone = (0.5 * np.sin(2 * np.pi * 500 * np.arange(32_000) / 16_000)).astype(np.float32)
    config = RawBoostConfig(notch_centre_hz=(6_000.0, 8_000.0), power_gain_db=(-6.0, -6.0))
    bent = convolutive_noise(tone, rng, config)
    assert changed_db(bent, tone, 1_450, 1_550) > 30  # the third harmonic, from the cube
    assert abs(float(bent.mean())) < 1e-4


def test_impulsive_rawboost_follows_the_signal(rng: np.random.Generator) -> None:
    clip = speechlike(1.0)
    clip[4_000:8_000] = 0.0
    config = RawBoostConfig(impulsive_samples=(0.1, 0.1), impulsive_gain=2.0)
    noise = impulsive_noise(clip, rng, config) - clip
    assert (noise[4_000:8_000] == 0).all()
    assert (np.abs(noise) <= 2.0 * np.abs(clip) + 1e-7).all()
    touched = (noise[clip != 0] != 0).mean()
    assert 0.08 < touched <= 0.1 + 0.01


def test_stationary_rawboost_has_the_asked_snr_and_holes_in_its_spectrum(
    rng: np.random.Generator, hiss: Samples
) -> None:
    clip = speechlike(1.0)
    config = RawBoostConfig(convolutive_share=0.0, impulsive_share=0.0, stationary_share=1.0, snr_db=(20.0, 20.0))
    noisy = rawboost(clip, rng, config)
    scale = float(noisy @ clip / (clip @ clip))  # the level is kept, so the speech is a little lower
    assert rms_dbfs(scale * clip) - rms_dbfs(noisy - np.float32(scale) * clip) == pytest.approx(20.0, abs=0.2)
    one_hole = RawBoostConfig(notches=(1, 1), notch_centre_hz=(3_000.0, 3_000.0), notch_width_hz=(800.0, 800.0))
    assert changed_db(notch_filtered(hiss, rng, one_hole), hiss, 2_970, 3_030) < -25


def test_rawboost_keeps_the_level(rng: np.random.Generator) -> None:
    clip = speechlike(1.0)
    for _ in range(20):
        assert rms_dbfs(rawboost(clip, rng, RawBoostConfig())) == pytest.approx(rms_dbfs(clip), abs=0.01)
