"""Deletion evidence is compared with an examination of the cut recording itself."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.calibration import Calibration
from earwitness.deletion import (
    LONGEST_DELETED_S,
    MAX_DELETIONS,
    StretchSound,
    deletable,
    deletions,
    without,
)
from earwitness.finding import WindowScore
from earwitness.grounds import SuspiciousStretch
from earwitness.pipeline import ExamineOptions, examine
from earwitness.policy import Thresholds
from earwitness.scorer import Scorer
from earwitness.timeline import FRAME_S, Timeline
from earwitness.waveform import SAMPLE_RATE_HZ, Samples, sample_count
from earwitness.windows import Window, iter_windows
from tests.audio_files import write_audio
from tests.speechlike import speechlike


def stretch(start_s: float, end_s: float, llr: float = 3.0) -> SuspiciousStretch:
    return SuspiciousStretch(start_s, end_s, 0.9, llr, (start_s + end_s) / 2, weight=llr * (end_s - start_s))


def hissing(samples: Samples) -> Samples:
    """The toy model takes much energy above 4 kHz for synthesis."""
    hiss = np.diff(np.random.default_rng(0).normal(0, 0.02, samples.size), n=2, prepend=[0.0, 0.0])
    return np.where(np.abs(samples) > 1e-3, samples + hiss, samples).astype(np.float32)


def muffled(samples: Samples) -> Samples:
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(samples.size, 1 / SAMPLE_RATE_HZ) > 3_500.0] = 0.0
    return np.fft.irfft(spectrum, samples.size).astype(np.float32)


def partly(start_s: float, end_s: float, duration_s: float) -> Samples:
    sound = muffled(speechlike(duration_s, 4))
    span = slice(round(start_s * SAMPLE_RATE_HZ), round(end_s * SAMPLE_RATE_HZ))
    sound[span] = hissing(speechlike(duration_s, 4))[span]
    return sound


def test_without_the_synthetic_part_the_ratio_falls(tmp_path: Path, toy_scorer: Scorer) -> None:
    output = examine(write_audio(tmp_path / "a.wav", partly(4.0, 8.0, 16.0)), toy_scorer)
    assert output.grounds is not None
    found = output.grounds.deletions[0]
    assert 3.5 <= found.start_s < found.end_s <= 8.5
    assert (found.score_with, found.llr_with, found.p_fake_with) == (output.score, output.llr, output.p_fake)
    assert found.score_without is not None and found.p_fake_without is not None
    assert found.score_without < found.score_with - 0.2
    assert found.p_fake_without < found.p_fake_with


@pytest.mark.parametrize("duration_s", [4.0, 12.0])
def test_it_agrees_with_an_examination_of_the_cut_recording(
    tmp_path: Path, toy_scorer: Scorer, duration_s: float
) -> None:
    sound = partly(1.0, 2.6, duration_s)
    output = examine(write_audio(tmp_path / "a.wav", sound), toy_scorer)
    (found,) = deletions(
        iter_windows([sound], toy_scorer.spec.window),
        [stretch(1.0, 2.6)],
        output.windows,
        scorer=toy_scorer,
        prior=0.5,
        speech_share=lambda a, b: 1.0,
    )
    cut = without(sound, 16_000, 41_600)
    expected = examine(write_audio(tmp_path / "b.wav", cut), toy_scorer)
    assert found.score_with == pytest.approx(output.score, abs=0.3)
    assert found.score_without == pytest.approx(expected.score, abs=0.5)


def windows_of(scorer: Scorer, sound: Samples, *shares: float) -> tuple[WindowScore, ...]:
    starts = range(0, 2 * len(shares), 2)
    return tuple(
        WindowScore(float(s), s + 4.0, 1.0, 1.0, 0.73, share) for s, share in zip(starts, shares, strict=True)
    )


def test_a_window_that_the_stretch_does_not_touch_keeps_its_score(toy_scorer: Scorer) -> None:
    sound = speechlike(8.0)
    windows = windows_of(toy_scorer, sound, 0.0, 0.0, 1.0)
    (found,) = deletions(
        iter_windows([sound], toy_scorer.spec.window),
        [stretch(0.0, 1.0)],
        windows,
        scorer=toy_scorer,
        prior=0.5,
        speech_share=lambda a, b: 0.0,
    )
    assert found.score_without == found.score_with == 1.0


def test_the_recording_is_read_no_further_than_it_is_needed(toy_scorer: Scorer) -> None:
    sound, taken = speechlike(40.0), []

    def blocks() -> Iterator[Samples]:
        for start in range(40):
            taken.append(start)
            yield sound[start * SAMPLE_RATE_HZ : (start + 1) * SAMPLE_RATE_HZ]

    windows = windows_of(toy_scorer, sound, *[1.0] * 19)
    first, second = deletions(
        iter_windows(blocks(), toy_scorer.spec.window), [stretch(5.0, 6.0), stretch(1.0, 2.0)], windows,
        scorer=toy_scorer, prior=0.5, speech_share=lambda a, b: 1.0,
    )  # fmt: skip
    assert first.score_without != first.score_with and second.score_without != second.score_with
    assert max(taken) < 12


def test_where_nothing_is_left_nothing_is_claimed(toy_scorer: Scorer) -> None:
    sound = speechlike(4.0)
    (found,) = deletions(
        iter_windows([sound], toy_scorer.spec.window), [stretch(0.0, 3.8)], windows_of(toy_scorer, sound, 1.0),
        scorer=toy_scorer, prior=0.5, speech_share=lambda a, b: 1.0,
    )  # fmt: skip
    assert (found.llr_without, found.p_fake_without, found.score_without) == (None, None, None)


def test_a_window_counts_by_the_speech_that_is_left_in_it(toy_scorer: Scorer) -> None:
    sound = speechlike(6.0)
    windows = windows_of(toy_scorer, sound, 1.0, 1.0)
    shares = {
        (0.0, 1.0): 0.0,
        (3.0, 4.0): 0.5,
        (3.0, 6.0): 1.0,
    }  # of what is left of the first and the second window

    def left(start_s: float, end_s: float) -> float:
        return shares[start_s, end_s]

    (both,) = deletions(
        iter_windows([sound], toy_scorer.spec.window),
        [stretch(1.0, 3.0)],
        windows,
        scorer=toy_scorer,
        prior=0.5,
        speech_share=left,
    )
    (first,) = deletions(
        iter_windows([sound], toy_scorer.spec.window),
        [stretch(1.0, 3.0)],
        windows[:1],
        scorer=toy_scorer,
        prior=0.5,
        speech_share=left,
    )
    (second,) = deletions(
        iter_windows([sound], toy_scorer.spec.window),
        [stretch(1.0, 3.0)],
        windows[1:],
        scorer=toy_scorer,
        prior=0.5,
        speech_share=left,
    )
    assert both.score_without is not None and first.score_without is not None and second.score_without is not None
    expected = (0.125 * first.score_without + 0.75 * second.score_without) / 0.875
    assert both.score_without == pytest.approx(expected)


def test_the_ends_are_joined_without_a_click() -> None:
    ramp = np.concatenate(
        (np.full(1_000, 0.5, np.float32), np.zeros(500, np.float32), np.full(1_000, -0.5, np.float32))
    )
    joined = without(ramp, 1_000, 1_500)
    assert joined.size == 2_000 - 160
    assert np.abs(np.diff(joined)).max() < 0.01


@pytest.mark.parametrize(("start", "end", "size"), [(-50, 400, 600), (600, 2_000, 600), (-5, 2_000, 0)])
def test_a_stretch_may_reach_over_the_ends_of_a_window(start: int, end: int, size: int) -> None:
    assert without(np.ones(1_000, np.float32), start, end).size == size


def test_the_weightiest_stretches_are_tried() -> None:
    many = [stretch(10.0 * n, 10.0 * n + 2.0, llr=1.0 + n) for n in range(6)]
    assert deletable(many, speech_s=60.0) == (many[5], many[4], many[3])
    assert len(deletable(many, speech_s=60.0)) == MAX_DELETIONS


def test_what_is_nearly_everything_or_a_chapter_is_not_tried() -> None:
    assert deletable([stretch(0.0, 3.6)], speech_s=4.0) == ()
    assert deletable([stretch(0.0, LONGEST_DELETED_S + 1.0)], speech_s=3_600.0) == ()


def heard(
    frames: Samples, hop_s: float
) -> tuple[StretchSound, tuple[SuspiciousStretch, ...], list[WindowScore], int]:
    """A recording whose frames have these scores, in windows of 4 s; the most windows that were kept at once."""
    timeline = Timeline(Calibration(1.0, 0.0, -6.0, 6.0), Thresholds(0.2, 0.8), prior=0.5)
    sound, windows, most, duration_s = StretchSound(), [], 0, frames.size * FRAME_S
    starts_s = [hop_s * n for n in range(max(1, int((duration_s - 4.0) / hop_s) + 1))]
    if duration_s > 4.0:
        starts_s.append(duration_s - 4.0)
    for start_s in starts_s:
        window = Window(len(windows), start_s, np.full(sample_count(min(4.0, duration_s)), start_s, np.float32))
        middles_s = start_s + (np.arange(25) + 0.5) * FRAME_S
        inside = np.interp(middles_s, (np.arange(frames.size) + 0.5) * FRAME_S, frames).astype(np.float32)
        timeline.add(start_s, float(inside.mean()), inside, FRAME_S, lambda a, b: 1.0)
        sound.push(window, timeline)
        windows.append(WindowScore(start_s, window.end_s, 1.0, 1.0, 0.7, 1.0))
        most = max(most, len(sound.kept()))
    return sound, timeline.finish(duration_s, lambda a, b: 1.0).stretches, windows, most


@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(10, 1_200),
    runs=st.integers(1, 40),
    hop_s=st.sampled_from([2.0, 4.0]),
)
def test_the_sound_of_the_stretches_was_kept(seed: int, length: int, runs: int, hop_s: float) -> None:
    rng = np.random.default_rng(seed)
    frames = np.full(length, -3.0, np.float32)
    for _ in range(runs):
        start, size = int(rng.integers(length)), int(rng.integers(1, 60))
        frames[start : start + size] = rng.uniform(1.0, 5.0)
    sound, stretches, windows, _ = heard(frames, hop_s)
    worth = deletable(stretches, length * FRAME_S)
    kept = sound.touched(worth, windows)
    assert kept is not None
    wanted = [w.start_s for w in windows if any(one.start_s < w.end_s and w.start_s < one.end_s for one in worth)]
    assert [one.start_s for one in kept] == wanted
    assert all(one.samples[0] == np.float32(one.start_s) for one in kept)


def test_little_is_kept_of_a_long_recording() -> None:
    frames = np.full(20_000, -3.0, np.float32)  # 53 minutes
    for start in range(100, 20_000, 200):
        frames[start : start + 12] = 4.0 + start / 20_000  # the later the stronger
    frames[5_000:7_000] = 5.0  # over five minutes: no stretch for an experiment
    sound, stretches, windows, most = heard(frames, 4.0)
    assert len(stretches) > 50
    assert most <= 24
    kept = sound.touched(deletable(stretches, 3_000.0), windows)
    assert kept is not None and len(kept) <= 9


def test_what_was_not_kept_is_told() -> None:
    frames = np.full(1_000, -3.0, np.float32)
    for start in range(100, 1_000, 100):
        frames[start : start + 12] = 4.0 + start / 1_000
    sound, stretches, windows, _ = heard(frames, 4.0)
    assert len(stretches) == 9
    assert sound.touched(stretches[-3:], windows) is not None
    assert sound.touched(stretches[:1], windows) is None, "three stronger ones came after it"


def test_decoded_again_or_not_the_experiments_say_the_same(
    tmp_path: Path, toy_scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = np.concatenate([partly(4.0, 8.0, 16.0), partly(2.0, 3.5, 12.0)])
    path = write_audio(tmp_path / "a.ogg", sound, codec="libopus", rate_hz=48_000)
    for long_recording_s in (10.0, 1_000.0):  # without and with overlapping windows
        options = ExamineOptions(long_recording_s=long_recording_s)
        kept = examine(path, toy_scorer, options)
        with monkeypatch.context() as patch:
            patch.setattr(StretchSound, "touched", lambda *_: None)
            decoded = examine(path, toy_scorer, options)
        assert kept.grounds is not None and decoded.grounds is not None
        assert len(kept.grounds.deletions) >= 2
        assert kept.grounds.deletions == decoded.grounds.deletions
