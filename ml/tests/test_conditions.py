import numpy as np
import pytest

from earwitness.waveform import rms_dbfs, sample_count
from ml.datasets.toy import toy_speech
from ml.evaluation.conditions import CONDITIONS, EXTREME
from ml.evaluation.score_clips import ALL_CONDITIONS, score_clips
from ml.evaluation.scores import CLEAN, EvaluationInputError

SPEECH = toy_speech(np.random.default_rng(1), 2.5, is_spoof=False)


@pytest.mark.parametrize("name", ALL_CONDITIONS)
def test_a_condition_is_finite_repeatable_and_about_as_loud(name: str) -> None:
    first, second = (ALL_CONDITIONS[name](SPEECH, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.isfinite(first).all()
    assert rms_dbfs(first) == pytest.approx(rms_dbfs(SPEECH), abs=6.0)
    assert first.size == (sample_count(1.5) if name == "short_1.5s" else SPEECH.size)


def test_only_clean_leaves_a_recording_as_it_is() -> None:
    same = [
        name for name in CONDITIONS if np.array_equal(CONDITIONS[name](SPEECH, np.random.default_rng(7)), SPEECH)
    ]
    assert same == [CLEAN]


def test_the_extreme_condition_leaves_a_telephone_band() -> None:
    power = np.abs(np.fft.rfft(EXTREME(SPEECH, np.random.default_rng(7)))) ** 2
    frequency_hz = np.fft.rfftfreq(SPEECH.size, 1 / 16_000)
    assert power[frequency_hz > 5_000].sum() < 1e-3 * power.sum()


def test_an_unknown_condition_is_refused_before_anything_is_scored(tmp_path: object) -> None:
    with pytest.raises(EvaluationInputError, match="opus_17k"):
        score_clips(None, [], ["opus_17k"], jobs=1, seed=1)  # type: ignore[arg-type]  # never looked at
