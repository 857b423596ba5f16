"""Real codecs: each keeps time, length and level, and worsens the sound the more the fewer bits it has."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import signal

from earwitness.waveform import Samples, rms_dbfs
from ml.augment.bitrate import BitRateConfig, reduce_bit_rate, requantise
from ml.augment.codecs import CODECS, CodecConfig, round_trip, transcode
from ml.tests.speechlike import speechlike

EACH_RATE = [(name, rate) for name, codec in CODECS.items() for rate in codec.bit_rates]
NARROW_BAND = {name for name, codec in CODECS.items() if codec.rate_hz == 8_000}


def lag(later: Samples, earlier: Samples) -> int:
    """By how many samples `later` is behind `earlier`, where they fit best."""
    correlation = signal.correlate(later, earlier, method="fft")
    return int(np.argmax(correlation)) - (earlier.size - 1)


def phone_part(samples: Samples) -> Samples:
    """300-3000 Hz: what every codec here carries."""
    sos = signal.butter(6, (300, 3_000), "bandpass", fs=16_000, output="sos")
    carried: Samples = signal.sosfiltfilt(sos, samples).astype(np.float32)
    return carried


def distortion_db(after: Samples, before: Samples) -> float:
    return rms_dbfs(after - before) - rms_dbfs(before)


@pytest.mark.parametrize(("name", "bit_rate"), EACH_RATE)
def test_a_round_trip_keeps_time_length_and_level(name: str, bit_rate: int) -> None:
    for seed, duration_s in ((1, 3.0), (2, 1.37)):
        clip = speechlike(duration_s, seed)
        decoded = round_trip(clip, CODECS[name], bit_rate)
        assert decoded.shape == clip.shape
        assert decoded.dtype == np.float32
        assert abs(lag(decoded, clip)) <= 4
        assert rms_dbfs(phone_part(decoded)) == pytest.approx(rms_dbfs(phone_part(clip)), abs=3.0)
        assert np.abs(decoded - clip).max() > 1e-6


@pytest.mark.parametrize("name", [name for name, codec in CODECS.items() if len(codec.bit_rates) > 1])
def test_fewer_bits_distort_more(name: str) -> None:
    codec, clip = CODECS[name], speechlike(2.0, 3)
    least, most = (round_trip(clip, codec, rate) for rate in (min(codec.bit_rates), max(codec.bit_rates)))
    assert (
        distortion_db(phone_part(least), phone_part(clip)) > distortion_db(phone_part(most), phone_part(clip)) + 1
    )


@pytest.mark.parametrize("name", sorted(NARROW_BAND))
def test_telephone_codecs_carry_nothing_above_4_khz(name: str) -> None:
    codec = CODECS[name]
    hiss = 0.1 * np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    decoded = round_trip(hiss, codec, codec.bit_rates[-1])
    frequency_hz, power = signal.welch(decoded, 16_000, nperseg=512)
    assert power[frequency_hz > 4_600].mean() < 1e-3 * power[(frequency_hz > 500) & (frequency_hz < 3_000)].mean()


@pytest.mark.parametrize("name", CODECS)
def test_sound_beyond_full_scale_is_not_clipped(name: str) -> None:
    codec, clip = CODECS[name], speechlike(1.0)
    loud = 20.0 * clip
    decoded = round_trip(loud, codec, codec.bit_rates[-1])
    assert rms_dbfs(phone_part(decoded)) == pytest.approx(rms_dbfs(phone_part(loud)), abs=3.0)


def test_threads_do_not_disturb_one_another() -> None:
    clips = [speechlike(0.5, seed) for seed in range(6)]
    codecs = [CODECS[name] for name in ("opus", "aac", "mp3", "amr_nb", "vorbis", "g726")]
    jobs = [(clip, codec) for clip in clips for codec in codecs]
    alone = [round_trip(clip, codec, codec.bit_rates[0]) for clip, codec in jobs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda job: round_trip(job[0], job[1], job[1].bit_rates[0]), jobs))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_nothing_is_written_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    for codec in CODECS.values():
        round_trip(speechlike(0.2), codec, codec.bit_rates[0])
    assert capfd.readouterr() == ("", "")


def test_twice_in_a_row_is_worse_than_once() -> None:
    clip = speechlike(1.0)
    once = transcode(clip, np.random.default_rng(1), CodecConfig(names=("amr_nb",), twice=0.0))
    twice = transcode(clip, np.random.default_rng(1), CodecConfig(names=("amr_nb",), twice=1.0))
    assert distortion_db(phone_part(twice), phone_part(clip)) > distortion_db(phone_part(once), phone_part(clip))


def test_every_codec_and_rate_is_drawn() -> None:
    clip = speechlike(0.1)
    rng = np.random.default_rng(0)
    config = CodecConfig(names=("opus", "g722", "mu_law"), twice=0.0)
    drawn = {transcode(clip, rng, config).tobytes() for _ in range(120)}
    everything = {
        round_trip(clip, CODECS[name], rate).tobytes() for name in config.names for rate in CODECS[name].bit_rates
    }
    assert drawn == everything


def test_unknown_codecs_are_refused() -> None:
    with pytest.raises(ValueError, match="speex"):
        CodecConfig(names=("opus", "speex"))
    with pytest.raises(ValueError, match="mu_law"):
        BitRateConfig(codecs=("mu_law",))


@pytest.mark.parametrize("bits", [6, 8, 10])
def test_requantised_sound_has_the_noise_that_its_bits_give(bits: int) -> None:
    ramp = np.linspace(-1.0, 1.0, 16_001, dtype=np.float32)  # full-scale, evenly spread: SNR is 6.02 dB a bit
    coarse = requantise(ramp, bits)
    assert np.unique(coarse).size == 2**bits + 1
    assert -distortion_db(coarse, ramp) == pytest.approx(6.02 * bits, abs=0.3)


def test_a_falling_bit_rate_ends_at_the_lower_one() -> None:
    clip = speechlike(1.0)
    config = BitRateConfig(requantise_share=0.0, codecs=("aac",))
    reduced = reduce_bit_rate(clip, np.random.default_rng(4), config)
    assert abs(lag(reduced, clip)) <= 4
    best = round_trip(clip, CODECS["aac"], max(CODECS["aac"].bit_rates))
    assert distortion_db(reduced, clip) > distortion_db(best, clip)
