from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.finding import Abstention
from earwitness.media import read_waveform
from earwitness.suitability import Measurements, SuitabilityMeter, abstentions
from earwitness.waveform import SAMPLE_RATE_HZ, Samples, db_to_gain
from tests.audio_files import write_audio
from tests.speechlike import speechlike
from tests.toy_model import SPEC

SOUND = speechlike(4.0, seed=1)


def metered(*blocks: Samples) -> SuitabilityMeter:
    meter = SuitabilityMeter()
    for block in blocks:
        meter.push(block)
    meter.finish()
    return meter


def measure(*blocks: Samples) -> Measurements:
    return metered(*blocks).measurements()


def noise(level: float, size: int = SOUND.size, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).normal(0, level, size).astype(np.float32)


def spectrum_cut(samples: Samples, edge_hz: float) -> Samples:
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(samples.size, 1 / SAMPLE_RATE_HZ) > edge_hz] = 0.0
    return np.fft.irfft(spectrum, samples.size).astype(np.float32)


@given(cuts=st.lists(st.integers(0, 16_000), max_size=6).map(sorted))
@settings(max_examples=15, deadline=None)
def test_how_the_sound_comes_in_blocks_does_not_matter(cuts: list[int]) -> None:
    sound = SOUND[:16_000]
    in_pieces, at_once = measure(*np.split(sound, cuts)), measure(sound)
    for name in Measurements.__slots__:
        assert getattr(in_pieces, name) == pytest.approx(getattr(at_once, name), rel=1e-9)


def test_durations() -> None:
    measured = measure(SOUND, np.zeros(2 * SAMPLE_RATE_HZ + 100, np.float32))
    assert measured.duration_s == pytest.approx(6.0 + 100 / SAMPLE_RATE_HZ)
    assert 2.0 < measured.speech_s < 4.2
    assert measured.speech_share == pytest.approx(measured.speech_s / measured.duration_s)


@pytest.mark.parametrize("gain_db", [-30.0, -10.0, 10.0])
def test_the_level_follows_the_gain(gain_db: float) -> None:
    louder, plain = measure(SOUND * np.float32(db_to_gain(gain_db))), measure(SOUND)
    assert louder.level_dbfs is not None
    assert plain.level_dbfs is not None
    assert louder.level_dbfs - plain.level_dbfs == pytest.approx(gain_db, abs=1.0)


@pytest.mark.parametrize("snr_db", [5.0, 10.0, 20.0])
def test_the_noise_is_measured(snr_db: float) -> None:
    plain = measure(SOUND)
    assert plain.level_dbfs is not None
    noisy = measure(SOUND + noise(db_to_gain(plain.level_dbfs - snr_db)))
    assert noisy.snr_db == pytest.approx(snr_db, abs=3.0)


def test_digital_silence_beside_a_noisy_recording_makes_it_no_clearer() -> None:
    noisy = SOUND + noise(0.05)
    alone, padded = measure(noisy), measure(noisy, np.zeros(2 * SAMPLE_RATE_HZ, dtype=np.float32))
    assert alone.snr_db is not None
    assert padded.snr_db == pytest.approx(alone.snr_db, abs=1.0)


@pytest.mark.parametrize("value", [0.0, 0.02])
def test_a_constant_end_of_part_of_a_chunk_is_no_quiet(value: float) -> None:
    noisy = SOUND[: SOUND.size - SOUND.size % 512] + noise(0.05, SOUND.size - SOUND.size % 512)
    end = np.full(12_000 + 100, value, dtype=np.float32)
    assert measure(noisy, end).snr_db == pytest.approx(measure(noisy).snr_db, abs=1.0)


def test_an_offset_is_neither_level_nor_noise() -> None:
    quiet = 0.1 * SOUND + noise(1e-4)
    plain, shifted = measure(quiet), measure(quiet + np.float32(0.02))
    assert plain.snr_db is not None
    assert shifted.snr_db == pytest.approx(plain.snr_db, abs=1.0)
    assert shifted.level_dbfs == pytest.approx(plain.level_dbfs, abs=0.2)


@pytest.mark.parametrize("edge_hz", [3_000.0, 4_000.0, 6_000.0])
def test_the_bandwidth_is_where_the_sound_ends(edge_hz: float) -> None:
    assert measure(spectrum_cut(SOUND, edge_hz)).bandwidth_hz == pytest.approx(edge_hz, abs=250.0)


def test_clipping_is_counted() -> None:
    assert measure(SOUND).clipped_share == 0.0
    clipped = np.clip(SOUND * 20, -1, 1)
    assert measure(clipped).clipped_share == pytest.approx(float(np.mean(np.abs(clipped) >= 0.99)))


def test_without_speech_its_properties_are_unknown() -> None:
    measured = measure(noise(0.1))
    assert (measured.level_dbfs, measured.snr_db, measured.bandwidth_hz) == (None, None, None)


def test_speech_is_found_where_it_is() -> None:
    meter = metered(np.zeros(4 * SAMPLE_RATE_HZ, np.float32), SOUND)
    assert meter.speech_share(0.0, 3.9) == 0.0
    assert meter.speech_share(4.2, 8.0) > 0.5
    assert meter.speech_share(100.0, 104.0) == 0.0


GOOD = Measurements(
    duration_s=4.0,
    speech_s=3.0,
    speech_share=0.75,
    level_dbfs=-25.0,
    snr_db=25.0,
    bandwidth_hz=7e3,
    clipped_share=0.0,
)


@pytest.mark.parametrize(
    ("changes", "ood_distance", "expected"),
    [
        ({}, None, []),
        ({}, SPEC.limits.max_ood_distance, []),
        ({}, SPEC.limits.max_ood_distance + 1, [Abstention.OUT_OF_DISTRIBUTION]),
        ({"duration_s": 0.9}, None, [Abstention.TOO_SHORT]),
        ({"speech_s": 0.3}, None, [Abstention.TOO_SHORT]),
        ({"speech_s": 0.0, "snr_db": None, "bandwidth_hz": None}, None, [Abstention.NO_SPEECH]),
        ({"duration_s": 0.1, "speech_s": 0.0}, None, [Abstention.NO_SPEECH, Abstention.TOO_SHORT]),
        ({"snr_db": -1.0}, None, [Abstention.TOO_NOISY]),
        ({"bandwidth_hz": 1_500.0}, None, [Abstention.BAND_TOO_NARROW]),
        ({"speech_s": 0.1, "snr_db": -9.0, "bandwidth_hz": 100.0}, 99.0, [Abstention.NO_SPEECH]),
    ],
)
def test_which_recordings_are_not_judged(
    changes: dict[str, float | None], ood_distance: float | None, expected: list[Abstention]
) -> None:
    assert list(abstentions(replace(GOOD, **changes), SPEC.limits, ood_distance)) == expected


def test_a_short_voice_message_over_the_telephone_is_judged(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.amr", speechlike(1.5, seed=1), codec="libopencore_amrnb", rate_hz=8_000)

    assert abstentions(measure(read_waveform(path)[0]), SPEC.limits) == ()
