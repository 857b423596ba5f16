"""Copy-synthesis: aligned to its source, at its level, alike to the ear and different in the samples."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from earwitness.waveform import Samples, rms_dbfs
from ml.augment import METHODS, copy_synthesise
from ml.augment.griffin_lim import through_mel
from ml.augment.lpc import linear_prediction
from ml.augment.pitch import track_pitch
from ml.augment.stft import analyse, synthesise
from ml.tests.speechlike import speechlike


def envelope(samples: Samples) -> NDArray[np.float64]:
    """Level in blocks of 20 ms, in dB, quiet blocks held at -60 dB."""
    blocks = samples[: samples.size // 320 * 320].reshape(-1, 320).astype(np.float64)
    return np.asarray(10 * np.log10(np.mean(blocks**2, axis=1) + 1e-6))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("duration_s", [0.1, 0.37, 2.5])
def test_a_copy_keeps_length_and_level(method: str, duration_s: float) -> None:
    clip = speechlike(duration_s)
    copied = copy_synthesise(clip, np.random.default_rng(1), method)
    assert copied.shape == clip.shape
    assert copied.dtype == np.float32
    assert np.isfinite(copied).all()
    assert rms_dbfs(copied) == pytest.approx(rms_dbfs(clip), abs=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_a_copy_follows_its_source_in_time(method: str) -> None:
    for seed in range(3):
        clip = speechlike(2.4, seed)
        copied = copy_synthesise(clip, np.random.default_rng(seed), method)
        ours, theirs = envelope(copied), envelope(clip)
        fits = [np.corrcoef(np.roll(ours, shift), theirs)[0, 1] for shift in range(-5, 6)]
        assert abs(int(np.argmax(fits)) - 5) <= 1  # within one block of 20 ms
        assert max(fits) > 0.8


@pytest.mark.parametrize("method", METHODS)
def test_a_copy_keeps_the_pitch_and_not_the_samples(method: str) -> None:
    clip = speechlike(2.4, 1)
    copied = copy_synthesise(clip, np.random.default_rng(0), method)
    assert np.sqrt(np.mean((copied - clip) ** 2)) > 0.02 * np.sqrt(np.mean(clip**2))
    before, _ = track_pitch(clip, 10.0)
    after, _ = track_pitch(copied, 10.0)
    both = (before > 0) & (after > 0)
    assert both.mean() > 0.2
    assert np.median(np.abs(after[both] / before[both] - 1)) < 0.03


@pytest.mark.parametrize("method", METHODS)
def test_one_seed_gives_one_copy_and_another_seed_another(method: str) -> None:
    clip = speechlike(0.8)
    first, again, other = (copy_synthesise(clip, np.random.default_rng(seed), method) for seed in (1, 1, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "sound",
    [
        np.eye(1, 4_000, 2_000, dtype=np.float32)[0],
        np.full(4_000, 0.5, dtype=np.float32),
        np.random.default_rng(0).standard_normal(5_000).astype(np.float32),
        np.concatenate((np.zeros(6_000, dtype=np.float32), speechlike(0.5))),
    ],
    ids=["one click", "constant", "noise", "silence first"],
)
def test_odd_sound_breaks_no_method(method: str, sound: Samples) -> None:
    for seed in range(3):
        copied = copy_synthesise(sound, np.random.default_rng(seed), method)
        assert copied.shape == sound.shape
        assert np.isfinite(copied).all()


def test_silence_stays_silence() -> None:
    silence = np.zeros(8_000, dtype=np.float32)
    assert all(not copy_synthesise(silence, np.random.default_rng(0), method).any() for method in METHODS)


def test_what_can_not_be_copied_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown method 'hifigan'"):
        copy_synthesise(speechlike(0.5), np.random.default_rng(0), "hifigan")
    with pytest.raises(ValueError, match="at least"):
        copy_synthesise(speechlike(0.05), np.random.default_rng(0), "world")


@pytest.mark.parametrize(("fft_size", "hop"), [(512, 128), (800, 200), (1_024, 256)])
def test_analysis_and_synthesis_are_inverse(fft_size: int, hop: int) -> None:
    clip = speechlike(0.7)
    back = synthesise(analyse(clip, fft_size, hop), fft_size, hop, clip.size)
    assert np.abs(back - clip).max() < 1e-5


def test_mel_smoothing_keeps_a_flat_spectrum_flat() -> None:
    smooth = through_mel(np.ones((3, 257), dtype=np.float32), 40)
    assert smooth == pytest.approx(1.0, abs=1e-5)


def test_linear_prediction_finds_the_filter_that_made_the_sound() -> None:
    poles = np.array([0.95 * np.exp(0.4j), 0.9 * np.exp(1.3j)])
    truth = np.real(np.poly(np.concatenate((poles, poles.conj()))))
    noise = np.random.default_rng(0).standard_normal(200_000)
    sound = signal.lfilter([1.0], truth, noise).astype(np.float32)
    found, gain = linear_prediction(sound[None], 4)
    assert found[0] == pytest.approx(truth, abs=0.02)
    assert gain[0] == pytest.approx(1.0, abs=0.05)
