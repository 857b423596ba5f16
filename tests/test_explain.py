import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.explain import Finding, clock, percent
from earwitness.explain import explain as explanations
from earwitness.finding import Abstention, Stretch, Verdict
from earwitness.policy import Thresholds, decide
from earwitness.suitability import Measurements

THRESHOLDS = Thresholds(t_low=0.2, t_high=0.8)
MEASURED = Measurements(
    duration_s=9.0,
    speech_s=7.2,
    speech_share=0.8,
    level_dbfs=-25.0,
    snr_db=40.0,
    bandwidth_hz=7_600.0,
    clipped_share=0.0,
)


def explain(case: Finding, measured: Measurements | None, thresholds: Thresholds) -> tuple[str, ...]:
    return tuple(explanation.text for explanation in explanations(case, measured, thresholds))


def finding(
    p_fake: float | None, stretch_p: float = 0.5, windows: int = 3, reasons: tuple[Abstention, ...] = ()
) -> Finding:
    verdict = decide(p_fake, THRESHOLDS, reasons)
    return Finding(verdict, p_fake, reasons, Stretch(4.0, 8.0, stretch_p), windows)


PROBABILITY = "the probability that a machine made the speech is"
NO_PROOF = "This is no proof of authenticity."
FIGURES = "Measured: 7.2 s of speech in 9.0 s, at -25 dBFS, 40 dB above the noise, reaching up to 7.6 kHz."


@pytest.mark.parametrize(
    ("case", "verdict", "stretch"),
    [
        (
            finding(0.95, 0.99),
            f"Strong evidence of synthesis: {PROBABILITY} 95.0 %, at or above the threshold of 80.0 %.",
            "The strongest evidence lies from 4.0 s to 8.0 s, where the probability is 99.0 %.",
        ),
        (
            finding(0.03, 0.1),
            f"Little evidence of synthesis: {PROBABILITY} 3.0 %, at or below the threshold of 20.0 %. {NO_PROOF}",
            "The most suspicious stretch, from 4.0 s to 8.0 s, reaches no more than 10.0 %.",
        ),
        (
            finding(0.5, 0.9),
            f"The evidence is inconclusive: {PROBABILITY} 50.0 %, between the thresholds of 20.0 % and 80.0 %.",
            "The stretch from 4.0 s to 8.0 s stands out with 90.0 %: listen to it.",
        ),
    ],
    ids=["deepfake", "authentic", "suspicious"],
)
def test_the_sentences(case: Finding, verdict: str, stretch: str) -> None:
    assert explain(case, MEASURED, THRESHOLDS) == (verdict, stretch, FIGURES)


def test_the_sentences_of_an_abstention() -> None:
    reason = "This recording can't be judged: the speech is too close to the noise."
    case = finding(None, reasons=(Abstention.TOO_NOISY,))
    assert explain(case, MEASURED, THRESHOLDS) == (
        f"{reason} That speaks neither for nor against synthesis.",
        FIGURES,
    )


CLAIMS = {
    Verdict.DEEPFAKE: "Strong evidence of synthesis",
    Verdict.AUTHENTIC: "Little evidence of synthesis",
    Verdict.SUSPICIOUS: "inconclusive",
}


@given(p_fake=st.floats(0, 1), stretch_p=st.floats(0, 1), windows=st.integers(1, 5))
def test_sentences_never_contradict_the_verdict(p_fake: float, stretch_p: float, windows: int) -> None:
    case = finding(p_fake, stretch_p, windows)
    text = " ".join(explain(case, MEASURED, THRESHOLDS))
    assert CLAIMS[case.verdict] in text
    for verdict, claim in CLAIMS.items():
        assert verdict is case.verdict or claim not in text


@given(p_fake=st.floats(0, 1))
def test_the_printed_figure_lies_on_the_right_side_of_the_thresholds(p_fake: float) -> None:
    sentence = explain(finding(p_fake), None, THRESHOLDS)[0]
    figure = re.search(r"speech is (under |over )?([\d.]+) %", sentence)
    assert figure is not None
    printed = float(figure.group(2)) / 100
    match decide(p_fake, THRESHOLDS):
        case Verdict.DEEPFAKE:
            assert printed >= THRESHOLDS.t_high
        case Verdict.AUTHENTIC:
            assert printed <= THRESHOLDS.t_low
        case Verdict.SUSPICIOUS:
            assert THRESHOLDS.t_low <= printed <= THRESHOLDS.t_high


@pytest.mark.parametrize(
    "reasons", [pair for count in (1, 2) for pair in itertools.combinations(Abstention, count)]
)
def test_every_abstention_is_explained_without_taking_sides(reasons: tuple[Abstention, ...]) -> None:
    sentence = explain(finding(None, reasons=reasons), None, THRESHOLDS)[0]
    assert sentence.startswith("This recording can't be judged: ")
    assert not any(claim in sentence for claim in CLAIMS.values())


@given(p_fake=st.none() | st.floats(0, 1))
def test_no_sentence_calls_a_recording_authentic(p_fake: float | None) -> None:
    reasons = (Abstention.NO_SPEECH,) if p_fake is None else ()
    text = " ".join(explain(finding(p_fake, reasons=reasons), MEASURED, THRESHOLDS))
    assert not re.search(r"\b(is|are|was) (authentic|genuine|real|human)", text)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bandwidth_hz": 3_900.0}, "as on a telephone"),
        ({"clipped_share": 0.02}, "2.0 % of the samples are clipped"),
    ],
)
def test_what_reduces_certainty_is_said(changes: dict[str, float], words: str) -> None:
    measured = Measurements(**{**{name: getattr(MEASURED, name) for name in Measurements.__slots__}, **changes})
    text = " ".join(explain(finding(0.5), measured, THRESHOLDS))
    assert words in text
    assert "reduces certainty" in text


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.0, "under 0.1 %"), (0.0009, "under 0.1 %"), (0.123, "12.3 %"), (0.1231, "12.4 %"), (0.5, "50.0 %"),
     (0.8999, "89.9 %"), (0.9, "90.0 %"), (0.999, "99.9 %"), (0.9995, "over 99.9 %"), (1.0, "over 99.9 %")],
)  # fmt: skip
def test_percentages_round_towards_the_middle(probability: float, text: str) -> None:
    assert percent(probability) == text


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0.0, "0.0 s"), (59.94, "59.9 s"), (60.0, "1:00.0"), (3_599.97, "1:00:00.0"), (3_723.5, "1:02:03.5")],
)
def test_times_read_like_a_clock(time_s: float, text: str) -> None:
    assert clock(time_s) == text
