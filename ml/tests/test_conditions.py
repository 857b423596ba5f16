import numpy as np
import pytest

from earwitness.waveform import rms_dbfs, sample_count
from ml.datasets.toy import toy_speech
from ml.evaluation.conditions import ALL_CONDITIONS, CONDITIONS, EXTREME, GOAL_CONDITIONS, ROBUSTNESS
from ml.evaluation.score_clips import score_clips
from ml.evaluation.scores import CLEAN, EvaluationInputError

SPEECH = toy_speech(np.random.default_rng(1), 2.5, is_spoof=False)


@pytest.mark.parametrize("name", ALL_CONDITIONS)
def test_a_condition_is_finite_repeatable_and_as_loud_and_long_as_it_says(name: str) -> None:
    first, second = (ALL_CONDITIONS[name](SPEECH, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.isfinite(first).all()
    quieter_db = 20.0 if name == "quieter_20db" else 0.0
    assert rms_dbfs(first) == pytest.approx(rms_dbfs(SPEECH) - quieter_db, abs=6.0)
    length = {"short_1.5s": sample_count(1.5), "edges_trimmed": first.size}.get(name, SPEECH.size)
    assert first.size == length


def test_only_clean_leaves_a_recording_as_it_is() -> None:
    same = [
        name for name in CONDITIONS if np.array_equal(CONDITIONS[name](SPEECH, np.random.default_rng(7)), SPEECH)
    ]
    assert same == [CLEAN]


def test_robustness_conditions_are_no_goals_and_none_leaves_a_recording_as_it_is() -> None:
    assert not ROBUSTNESS.keys() & set(GOAL_CONDITIONS)
    assert len(GOAL_CONDITIONS) == 8
    recording = np.pad(SPEECH, 1600)  # with edges to trim
    for change in ROBUSTNESS.values():
        changed = change(recording, np.random.default_rng(7))
        assert not np.array_equal(changed, recording)
        assert changed.dtype == np.float32


def test_trimming_takes_the_silence_at_the_edges_and_nothing_else() -> None:
    silence = np.full(sample_count(0.5), 1e-4, np.float32)
    trimmed = ROBUSTNESS["edges_trimmed"](np.concatenate([silence, SPEECH, silence]), np.random.default_rng(7))
    alone = ROBUSTNESS["edges_trimmed"](SPEECH, np.random.default_rng(7))
    assert trimmed.size == pytest.approx(alone.size, abs=320)
    assert np.array_equal(ROBUSTNESS["edges_trimmed"](0 * SPEECH, np.random.default_rng(7)), 0 * SPEECH)


def test_cutting_the_band_leaves_nothing_above_it_and_the_speech_below() -> None:
    power = np.abs(np.fft.rfft(ROBUSTNESS["band_0.1-5khz"](SPEECH, np.random.default_rng(7)))) ** 2
    before = np.abs(np.fft.rfft(SPEECH)) ** 2
    frequency_hz = np.fft.rfftfreq(SPEECH.size, 1 / 16_000)
    assert power[frequency_hz > 5_300].sum() < 1e-3 * before[frequency_hz > 5_300].sum()
    middle = (frequency_hz > 300) & (frequency_hz < 4_500)
    assert power[middle].sum() == pytest.approx(before[middle].sum(), rel=0.01)


def test_the_extreme_condition_leaves_a_telephone_band() -> None:
    power = np.abs(np.fft.rfft(EXTREME(SPEECH, np.random.default_rng(7)))) ** 2
    frequency_hz = np.fft.rfftfreq(SPEECH.size, 1 / 16_000)
    assert power[frequency_hz > 5_000].sum() < 1e-3 * power.sum()


def test_an_unknown_condition_is_refused_before_anything_is_scored(tmp_path: object) -> None:
    with pytest.raises(EvaluationInputError, match="opus_17k"):
        score_clips(None, [], ["opus_17k"], jobs=1, seed=1)  # type: ignore[arg-type]  # never looked at
