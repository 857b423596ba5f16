"""The robustness panel: what is done to the sound, which windows are taken, and what counts as a flip."""

import math

import numpy as np
import pytest

from earwitness.finding import Verdict, WindowScore
from earwitness.robustness import CONDITIONS, PANEL_WINDOWS, Condition, Piece, choose_windows, rescore
from earwitness.scorer import Scorer
from earwitness.waveform import SAMPLE_RATE_HZ, Samples, rms_dbfs, sample_count
from tests.speechlike import speechlike

BY_ID = {condition.id: condition for condition in CONDITIONS}


@pytest.fixture(scope="module")
def speech() -> Samples:
    return speechlike(4.0, seed=3)


def window(index: int, score: float = 0.0, speech_share: float = 1.0) -> WindowScore:
    return WindowScore(2.0 * index, 2.0 * index + 4.0, score, score, 0.5, speech_share)


def test_the_panel_has_what_was_promised() -> None:
    assert list(BY_ID) == ["mp3_32k", "opus_16k", "telephone", "resampled_11025", "gain_-20db", "trimmed"]


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.id)
def test_every_condition_gives_finite_sound_and_the_same_twice(condition: Condition, speech: Samples) -> None:
    once, twice = condition.apply(speech), condition.apply(speech)

    assert once.dtype == np.float32 and np.isfinite(once).all()
    assert np.array_equal(once, twice)
    assert once.size == speech.size - (sample_count(0.5) if condition.id == "trimmed" else 0)


@pytest.mark.parametrize("name", ["mp3_32k", "opus_16k", "telephone", "resampled_11025"])
def test_codecs_and_resampling_change_the_sound_but_do_not_move_it(name: str, speech: Samples) -> None:
    altered = BY_ID[name].apply(speech)
    lags = np.fft.irfft(np.fft.rfft(altered, 2 * speech.size) * np.conj(np.fft.rfft(speech, 2 * speech.size)))

    assert not np.array_equal(altered, speech)
    assert int(np.argmax(lags)) in {0, 1, 2, 3, lags.size - 1, lags.size - 2, lags.size - 3}
    assert float(lags.max() / (np.linalg.norm(altered) * np.linalg.norm(speech))) > 0.5


def test_the_telephone_leaves_nothing_above_its_band(speech: Samples) -> None:
    spectrum = np.abs(np.fft.rfft(BY_ID["telephone"].apply(speech))) ** 2
    frequency_hz = np.fft.rfftfreq(speech.size, 1 / SAMPLE_RATE_HZ)

    assert 10 * math.log10(spectrum[frequency_hz > 4_000].sum() / spectrum.sum()) < -40


def test_gain_is_what_it_says(speech: Samples) -> None:
    assert rms_dbfs(BY_ID["gain_-20db"].apply(speech)) == pytest.approx(rms_dbfs(speech) - 20.0, abs=0.1)


@pytest.mark.parametrize("name", ["mp3_32k", "opus_16k"])
def test_sound_beyond_full_scale_keeps_its_level(name: str, speech: Samples) -> None:
    loud = (speech * np.float32(20.0)).astype(np.float32)

    assert rms_dbfs(BY_ID[name].apply(loud)) == pytest.approx(rms_dbfs(loud), abs=1.5)


def test_a_window_too_short_to_trim_is_left_whole() -> None:
    short = speechlike(0.6)

    assert BY_ID["trimmed"].apply(short).size == short.size


def test_of_few_windows_all_are_taken() -> None:
    windows = [window(index) for index in range(PANEL_WINDOWS)]

    assert choose_windows(windows) == tuple(windows)


def test_of_many_windows_the_most_suspicious_and_an_even_spread_are_taken() -> None:
    windows = [window(index, score=1.0 if index == 137 else 0.0) for index in range(400)]

    chosen = choose_windows(windows)

    assert len(chosen) == PANEL_WINDOWS
    assert windows[137] in chosen
    assert chosen[0] == windows[0] and chosen[-1] == windows[-1]
    assert list(chosen) == sorted(chosen, key=lambda one: one.start_s)


def test_windows_without_speech_are_passed_over_while_there_are_others() -> None:
    silent, spoken = window(0, speech_share=0.0), window(1, speech_share=0.9)

    assert choose_windows([silent, spoken]) == (spoken,)
    assert choose_windows([silent]) == (silent,)


def test_the_panel_counts_flips_against_the_same_windows_unaltered(toy_scorer: Scorer) -> None:
    """The toy hears energy above 4 kHz: a telephone takes exactly that away."""
    hiss = np.random.default_rng(1).normal(0.0, 0.05, sample_count(4.0)).astype(np.float32)

    panel = rescore([Piece(hiss, 1.0)], toy_scorer, prior=0.5)

    by_id = {trial.id: trial for trial in panel.trials}
    assert panel.unaltered.verdict is Verdict.DEEPFAKE
    assert by_id["telephone"].verdict is Verdict.AUTHENTIC and by_id["telephone"].flipped
    assert not by_id["gain_-20db"].flipped
    assert panel.flips == sum(trial.flipped for trial in panel.trials)
    assert panel.llr_low == min(panel.unaltered.llr, *(trial.llr for trial in panel.trials))
    assert panel.llr_high == max(panel.unaltered.llr, *(trial.llr for trial in panel.trials))


def test_windows_count_by_their_share_of_speech(toy_scorer: Scorer, speech: Samples) -> None:
    hiss = np.random.default_rng(1).normal(0.0, 0.05, sample_count(4.0)).astype(np.float32)

    alone = rescore([Piece(speech, 1.0)], toy_scorer, prior=0.5)
    beside_silence = rescore([Piece(speech, 1.0), Piece(hiss, 0.0)], toy_scorer, prior=0.5)

    assert beside_silence.unaltered.score == pytest.approx(alone.unaltered.score, abs=1e-4)
    assert (beside_silence.windows, alone.windows) == (2, 1)


def test_without_a_window_there_is_no_panel(toy_scorer: Scorer) -> None:
    with pytest.raises(ValueError, match="no window"):
        rescore([], toy_scorer, prior=0.5)
