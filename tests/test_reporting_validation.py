"""Which validation figures are shown for which recording."""

import pytest

from earwitness.reporting.validation import Circumstances, nearest_condition, validation_block
from tests.reports import EVALUATION


@pytest.mark.parametrize(
    ("circumstances", "name", "why"),
    [
        (Circumstances(), "clean", "no tested"),
        (Circumstances("pcm_s16le", 7_600.0, 30.0, 50.0), "clean", "no tested"),
        (Circumstances("mp3", 7_600.0, 30.0, 50.0), "mp3_32k", "codec is mp3"),
        (Circumstances("mp3float"), "mp3_32k", "codec"),
        (Circumstances("pcm_mulaw", 3_400.0), "g711", "codec is pcm_mulaw"),
        (Circumstances("flac", 3_400.0, 30.0, 50.0), "g711", "band ends at 3.4 kHz"),
        (
            Circumstances("flac", 4_500.0, 30.0, 50.0),
            "g711",
            "band ends at 4.5 kHz",
        ),  # an 8 kHz file's resampled edge
        (Circumstances(speech_s=1.2), "short_1.5s", "1.2 s of speech"),
        (Circumstances(snr_db=9.0), "noise_10db", "9 dB above the noise"),
        (
            Circumstances("mp3", snr_db=9.0, speech_s=1.0),
            "noise_10db",
            "noise",
        ),  # of several the one with most errors
        (Circumstances("opus"), "clean", "no tested"),  # these figures were not measured for this model
    ],
)
def test_the_nearest_condition(circumstances: Circumstances, name: str, why: str) -> None:
    found = nearest_condition(EVALUATION, circumstances)

    assert found.name == name
    assert why in found.why
    assert found.eer == EVALUATION["eer_by_condition"][name]


def test_figures_that_were_not_measured_under_a_condition_are_missing_and_not_borrowed() -> None:
    assert nearest_condition(EVALUATION, Circumstances("mp3")).cllr is None
    assert nearest_condition(EVALUATION, Circumstances()).cllr == 0.65  # unaltered recordings are the pooled ones


def test_a_detailed_summary_gives_cllr_and_error_rates_by_condition() -> None:
    part = {
        "name": "mp3_32k", "bonafide": 100, "spoof": 120, "eer": 0.2, "cllr": 0.6,
        "bonafide_called_deepfake": 0.03, "spoof_called_authentic": 0.04,
    }  # fmt: skip
    found = nearest_condition({**EVALUATION, "by_condition": [part]}, Circumstances("mp3"))

    assert (found.cllr, found.bonafide_called_deepfake, found.spoof_called_authentic) == (0.6, 0.03, 0.04)
    assert (found.bonafide, found.spoof) == (100, 120)


def test_a_model_without_an_evaluation_has_no_validation() -> None:
    assert validation_block({}, Circumstances("mp3")) is None
