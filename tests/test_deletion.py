"""Deletion evidence is compared with an examination of the cut recording itself."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from earwitness.deletion import LONGEST_DELETED_S, MAX_DELETIONS, deletable, deletions, without
from earwitness.finding import WindowScore
from earwitness.grounds import SuspiciousStretch
from earwitness.pipeline import examine
from earwitness.scorer import Scorer
from earwitness.waveform import SAMPLE_RATE_HZ, Samples
from tests.audio_files import write_audio
from tests.speechlike import speechlike


def stretch(start_s: float, end_s: float, llr: float = 3.0) -> SuspiciousStretch:
    return SuspiciousStretch(start_s, end_s, 0.9, llr, (start_s + end_s) / 2)


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
        [sound],
        [stretch(1.0, 2.6)],
        output.windows,
        scorer=toy_scorer,
        plan=toy_scorer.spec.window,
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
        [sound],
        [stretch(0.0, 1.0)],
        windows,
        scorer=toy_scorer,
        plan=toy_scorer.spec.window,
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
        blocks(), [stretch(5.0, 6.0), stretch(1.0, 2.0)], windows,
        scorer=toy_scorer, plan=toy_scorer.spec.window, prior=0.5, speech_share=lambda a, b: 1.0,
    )  # fmt: skip
    assert first.score_without != first.score_with and second.score_without != second.score_with
    assert max(taken) < 12


def test_where_nothing_is_left_nothing_is_claimed(toy_scorer: Scorer) -> None:
    sound = speechlike(4.0)
    (found,) = deletions(
        [sound], [stretch(0.0, 3.8)], windows_of(toy_scorer, sound, 1.0),
        scorer=toy_scorer, plan=toy_scorer.spec.window, prior=0.5, speech_share=lambda a, b: 1.0,
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
        [sound],
        [stretch(1.0, 3.0)],
        windows,
        scorer=toy_scorer,
        plan=toy_scorer.spec.window,
        prior=0.5,
        speech_share=left,
    )
    (first,) = deletions(
        [sound],
        [stretch(1.0, 3.0)],
        windows[:1],
        scorer=toy_scorer,
        plan=toy_scorer.spec.window,
        prior=0.5,
        speech_share=left,
    )
    (second,) = deletions(
        [sound],
        [stretch(1.0, 3.0)],
        windows[1:],
        scorer=toy_scorer,
        plan=toy_scorer.spec.window,
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
