import itertools
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.calibration import posterior
from earwitness.explain import AtPrior, Finding, clock, percent
from earwitness.explain import explain as explanations
from earwitness.explain_catalogue import Code
from earwitness.finding import Abstention, Stretch, Verdict
from earwitness.grounds import (
    DeletionEvidence,
    Direction,
    Explanation,
    Severity,
    Signal,
    SuspiciousStretch,
    UsualRange,
)
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
            f"Evidence of synthesis: {PROBABILITY} 95.0 %, at or above the threshold of 80.0 %.",
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
    Verdict.DEEPFAKE: "Evidence of synthesis",
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
        ({"clipped_share": 0.02}, "2.0 % of the samples are at full scale"),
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


WATCHED = (
    "pitch_sd_semitones",
    "spectral_flux",
    "energy_sd_db",
    "breath_share",
    "noise_spread_db",
    "group_delay_spread_ms",
    "high_band_db",
)
RESERVED = (
    "spectral_cliffs_share",
    "generations",
    "cutoff_hz",
    "unused_band_hz",
    "frame_agreement_share",
    "digital_silence_share",
)


def usual(percentile: float, percent_above: float | None = None) -> UsualRange:
    above = 100.0 - percentile if percent_above is None else percent_above
    return UsualRange(1.0, 2.0, 3.0, percentile, above, 900)


def signal(name: str, value: float = 2.0, human: float | None = 50.0, synthetic: float | None = 50.0) -> Signal:
    """A signal with so many per cent of human and of synthetic recordings below it."""
    return Signal(
        name,
        name.replace("_", " ").capitalize(),
        value,
        "1",
        "a paper",
        None if human is None else usual(human),
        None if synthetic is None else usual(synthetic),
        "wide",
    )


def codes(case: Finding, measured: Measurements | None = MEASURED) -> list[str]:
    return [explanation.code for explanation in explanations(case, measured, THRESHOLDS)]


PERCENTS = (0.0, 0.5, 3.0, 5.0, 5.1, 30.0, 50.0, 94.9, 95.0, 97.0, 99.0, 100.0)
RANGES = (None, usual(0.0, 0.0), usual(0.0, 10.0), *(usual(percent) for percent in PERCENTS))
VALUES = (-200.0, 0.0, 0.02, 0.1, 0.69, 1.0, 2.0, 3_400.0, 20_000.0)
VARIANTS: tuple[tuple[float | None, UsualRange | None, UsualRange | None], ...] = (
    (None, None, None),  # not measured, so not compared
    *itertools.product(VALUES, RANGES, RANGES),
)


@st.composite
def any_signals(draw: st.DrawFn) -> tuple[Signal, ...]:
    """The whole grid of what each signal may have measured and how it may compare."""
    drawn = draw(st.lists(st.sampled_from(VARIANTS), min_size=13, max_size=13))
    return tuple(
        Signal(name, name, value, "1", "a paper", human, synthetic, "wide")
        for name, (value, human, synthetic) in zip((*WATCHED, *RESERVED), drawn, strict=True)
    )


times = st.floats(0, 20_000)
stretches = st.lists(
    st.builds(
        lambda start, length, p: SuspiciousStretch(start, start + length, p, 2.0, start),
        times,
        times,
        st.floats(0, 1),
    ),
    max_size=6,
).map(tuple)
llrs = st.floats(-6, 6)
experiments = st.lists(
    st.builds(
        lambda start, length, before, after: DeletionEvidence(
            start, start + length, before, after, 0.9, None if after is None else 0.5, before, after
        ),
        times, times, llrs, st.none() | llrs,
    ),
    max_size=3,
).map(tuple)  # fmt: skip
measurements = st.builds(
    Measurements,
    duration_s=st.floats(0, 20_000),
    speech_s=st.floats(0, 20_000),
    speech_share=st.floats(0, 1),
    level_dbfs=st.none() | st.floats(-120, 20),
    snr_db=st.none() | st.floats(-30, 90),
    bandwidth_hz=st.none() | st.floats(0, 8_000),
    clipped_share=st.floats(0, 1),
)


@st.composite
def any_findings(draw: st.DrawFn) -> Finding:
    reasons = tuple(draw(st.lists(st.sampled_from(list(Abstention)), max_size=3, unique=True)))
    p_fake = None if reasons else draw(st.floats(0, 1))
    window = None if p_fake is None else Stretch(4.0, 8.0, draw(st.floats(0, 1)))
    return Finding(
        verdict=decide(p_fake, THRESHOLDS, reasons),
        p_fake=p_fake,
        abstentions=reasons,
        most_suspicious=window,
        window_count=draw(st.integers(1, 5)),
        signals=draw(any_signals()),
        stretches=draw(stretches) if p_fake is not None else (),
        deletions=draw(experiments) if p_fake is not None else (),
        codec=draw(st.sampled_from([None, "pcm_s16le", "mp3float", "opus"])),
    )


POINTS_TO_SYNTHESIS = re.compile(
    r"Evidence of synthesis: |strongest evidence|point to synthesis|unusually |too smooth"
)


def contradictions(case: Finding, said: tuple[Explanation, ...]) -> list[Explanation]:
    forbidden = {
        Verdict.DEEPFAKE: {Direction.BONA_FIDE},
        Verdict.AUTHENTIC: {Direction.SPOOF},
        Verdict.SUSPICIOUS: {Direction.BONA_FIDE} | ({Direction.SPOOF} if case.p_fake is None else set()),
    }[case.verdict]
    return [each for each in said if each.direction in forbidden]


@given(case=any_findings(), measured=st.none() | measurements)
@settings(max_examples=150, deadline=None)  # no absolute times
def test_no_explanation_contradicts_the_verdict(case: Finding, measured: Measurements | None) -> None:
    said = explanations(case, measured, THRESHOLDS)
    assert contradictions(case, said) == []
    assert [each.code for each in said if each.severity is Severity.VERDICT] == [said[0].code]
    if case.verdict is Verdict.AUTHENTIC or case.p_fake is None:
        assert not any(POINTS_TO_SYNTHESIS.search(each.text) for each in said)
    if case.verdict is not Verdict.AUTHENTIC:
        assert not any("ittle evidence of synthesis" in each.text for each in said)


SUMMARIES = {Code.COMPARED_AS_USUAL, Code.SCORE_ALONE, Code.UNUSUAL_BUT_OUTWEIGHED, Code.UNUSUAL_FOR_BOTH}
SIGNAL_CODES = {
    Code.PITCH_CONSISTENT, Code.SPECTRUM_SMOOTH, Code.ENERGY_UNIFORM, Code.PAUSES_EMPTY, Code.NOISE_STEADY,
    Code.PHASE_NARROW, Code.PHASE_WIDE, Code.HIGH_BAND_WEAK, Code.HIGH_BAND_STRONG,
}  # fmt: skip


@pytest.mark.parametrize("name", WATCHED)
def test_the_grid_of_signals_and_verdicts(name: str) -> None:
    tails = (0.5, 4.0, 50.0, 96.0, 99.5)
    for p_fake, human, synthetic in itertools.product((0.05, 0.5, 0.95), tails, tails):
        case = replace(finding(p_fake), signals=(signal(name, 1.0, human, synthetic),))
        said = explanations(case, MEASURED, THRESHOLDS)
        assert contradictions(case, said) == []
        about = {each.code for each in said} & (SIGNAL_CODES | SUMMARIES)
        assert about
        if p_fake < THRESHOLDS.t_low or human in (50.0, synthetic):
            assert about.isdisjoint(SIGNAL_CODES)
        assert (Code.COMPARED_AS_USUAL in about) <= (human == 50.0)
        assert (Code.SCORE_ALONE in about) == (p_fake >= THRESHOLDS.t_high and about.isdisjoint(SIGNAL_CODES))


@given(case=any_findings(), measured=st.none() | measurements)
@settings(max_examples=50, deadline=None)
def test_the_same_finding_gives_the_same_explanations(case: Finding, measured: Measurements | None) -> None:
    first, second = (explanations(case, measured, THRESHOLDS) for _ in range(2))
    assert first == second


@given(case=any_findings(), order=st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_order_in_which_signals_come_does_not_matter(case: Finding, order: Any) -> None:
    shuffled = list(case.signals)
    order.shuffle(shuffled)
    assert explanations(replace(case, signals=tuple(shuffled)), MEASURED, THRESHOLDS) == explanations(
        case, MEASURED, THRESHOLDS
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "pitch_sd_semitones",
            "Pitch is unusually consistent: it varies by 0.8 semitones, less than in 97 % of human",
        ),
        ("spectral_flux", "Spectral changes too smooth: the spectral flux is 0.80, lower than in 97 % of human"),
        (
            "energy_sd_db",
            "Energy variation unusually uniform: the level varies by 0.8 dB, less than in 97 % of human",
        ),
    ],
)
def test_the_guide_s_sentences_on_signals(name: str, words: str) -> None:
    case = replace(finding(0.95), signals=(signal(name, 0.8, human=3.0, synthetic=12.0),))
    assert any(text.startswith(words) for text in explain(case, MEASURED, THRESHOLDS))


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (
            replace(finding(0.5), signals=(signal("spectral_cliffs_share", 0.4),)),
            "Compression artifacts reduce certainty: in 40.0 % of the speech the spectrum breaks off abruptly",
        ),
        (
            replace(finding(0.5), codec="opus"),
            "Compression artifacts reduce certainty: the file is in opus, a codec that loses detail.",
        ),
    ],
)
def test_the_guide_s_sentence_on_compression(case: Finding, words: str) -> None:
    assert any(text.startswith(words) for text in explain(case, MEASURED, THRESHOLDS))


@pytest.mark.parametrize(
    ("human", "synthetic", "expected"),
    [
        (3.0, 12.0, Code.PITCH_CONSISTENT),  # rare among human, less so among synthetic recordings
        (3.0, 3.0, Code.SCORE_ALONE),  # as rare among both
        (3.0, 0.5, Code.SCORE_ALONE),  # rarer among synthetic ones
        (20.0, 60.0, Code.SCORE_ALONE),  # nothing unusual
        (0.0, 0.0, Code.SCORE_ALONE),  # unlike either
    ],
)
def test_a_signal_speaks_for_synthesis_only_where_it_does(human: float, synthetic: float, expected: Code) -> None:
    case = replace(finding(0.95), signals=(signal("pitch_sd_semitones", 0.8, human, synthetic),))
    assert expected in codes(case)
    assert (Code.PITCH_CONSISTENT in codes(case)) is (expected is Code.PITCH_CONSISTENT)


@pytest.mark.parametrize("p_fake", [0.05, 0.5, 0.95])
def test_what_is_as_rare_among_synthetic_recordings_speaks_for_neither(p_fake: float) -> None:
    case = replace(finding(p_fake), signals=(signal("pitch_sd_semitones", 0.8, 3.0, 3.0),))
    assert Code.UNUSUAL_FOR_BOTH in codes(case)
    assert Code.COMPARED_AS_USUAL not in codes(case)


def test_what_was_compared_with_nothing_is_not_called_unremarkable() -> None:
    case = replace(finding(0.95), signals=(signal("pitch_sd_semitones", 0.8, None, None),))
    assert set(codes(case)).isdisjoint(SIGNAL_CODES | SUMMARIES)


def test_beside_authentic_what_is_unusual_is_named_but_outweighed() -> None:
    case = replace(finding(0.05), signals=(signal("pitch_sd_semitones", 0.8, 3.0, 12.0),))
    (text,) = [text for text in explain(case, MEASURED, THRESHOLDS) if "nonetheless" in text]
    assert text.startswith("Unusual among human recordings of this bandwidth: pitch sd semitones.")


def test_only_what_was_compared_is_said_to_be_usual() -> None:
    others = (signal("pitch_sd_semitones", 2.0, 50.0, 50.0), signal("snr_db", 90.0, None, None))
    (text,) = [
        text for text in explain(replace(finding(0.5), signals=others), MEASURED, THRESHOLDS) if "usually" in text
    ]
    assert text.endswith("lies where theirs usually does: pitch sd semitones.")


def test_the_largest_distance_from_the_noise_is_a_bound() -> None:
    (text,) = [t for t in explain(finding(0.5), replace(MEASURED, snr_db=90.0), THRESHOLDS) if "Measured" in t]
    assert "at least 90 dB above the noise" in text


@pytest.mark.parametrize(
    ("verdict", "alone", "llr", "prior"),
    [
        (Verdict.DEEPFAKE, Verdict.SUSPICIOUS, -1.0, 0.99),
        (Verdict.AUTHENTIC, Verdict.DEEPFAKE, 4.3, 0.001),
    ],
)
def test_at_another_prior_the_verdict_is_told_from_the_evidence(
    verdict: Verdict, alone: Verdict, llr: float, prior: float
) -> None:
    case = replace(finding(posterior(llr, prior)), verdict=verdict, at_prior=AtPrior(prior, llr, alone))
    first, *rest = explain(case, MEASURED, THRESHOLDS)
    assert first.startswith(f"{verdict} at the stated prior of")
    assert f"log-likelihood ratio of {llr:.1f}, which is {alone} at a prior of one half" in first
    assert "vidence of synthesis" not in first
    assert any("strongest evidence" in text for text in rest) == (alone is Verdict.DEEPFAKE)


@pytest.mark.parametrize(
    ("with_it", "without", "text"),
    [
        (1.9, 0.2, "the log-likelihood ratio falls from 1.9 to 0.2."),
        (0.2, -0.03, "the log-likelihood ratio falls from 0.2 to 0.0."),
        (1.9, 1.93, "the log-likelihood ratio stays at 1.9: the finding does not rest on that stretch alone."),
        (0.2, 1.9, "the log-likelihood ratio rises from 0.2 to 1.9."),
        (1.9, None, "nothing is left that could be judged."),
    ],
)
def test_deletion_evidence_in_words(with_it: float, without: float | None, text: str) -> None:
    experiment = DeletionEvidence(3.2, 4.8, with_it, without, 0.87, None, with_it, without)
    case = replace(finding(0.95), deletions=(experiment,))
    assert f"Without the stretch from 3.2 s to 4.8 s, {text}" in explain(case, MEASURED, THRESHOLDS)


@pytest.mark.parametrize(
    ("p_fake", "ends", "text"),
    [
        (0.95, (4.8,), "Marked stretches, 1.6 s in all, point to synthesis: 3.2 s to 4.8 s."),
        (
            0.05,
            (4.8,),
            "Marked stretches, 1.6 s in all, stand out against the rest: 3.2 s to 4.8 s. Listen to them.",
        ),
        (0.95, (9.0,), "The evidence is spread over the whole recording; no single stretch carries it."),
    ],
)
def test_stretches_in_words(p_fake: float, ends: tuple[float, ...], text: str) -> None:
    found = tuple(SuspiciousStretch(3.2, end_s, 0.9, 2.0, 4.0) for end_s in ends)
    assert text in explain(replace(finding(p_fake), stretches=found), MEASURED, THRESHOLDS)


def test_what_chance_left_out_does_not_make_the_evidence_less_spread_out() -> None:
    found = (SuspiciousStretch(1.0, 3.0, 0.9, 2.0, 2.0),)
    narrow = replace(finding(0.95), stretches=found)
    measured = replace(MEASURED, speech_s=5.0)
    assert "spread over" not in " ".join(explain(narrow, measured, THRESHOLDS))
    assert "spread over" in " ".join(explain(replace(narrow, left_out_s=2.5), measured, THRESHOLDS))


def test_of_many_stretches_the_longest_are_named_in_the_order_of_time() -> None:
    found = tuple(SuspiciousStretch(10.0 * n, 10.0 * n + n, 0.9, 2.0, 10.0 * n) for n in range(1, 6))
    text = " ".join(explain(replace(finding(0.95), stretches=found), replace(MEASURED, speech_s=90.0), THRESHOLDS))
    assert (
        "15.0 s in all, point to synthesis: 30.0 s to 33.0 s, 40.0 s to 44.0 s, 50.0 s to 55.0 s and 2 shorter."
        in text
    )


@pytest.mark.parametrize(
    ("signals", "words"),
    [
        ((signal("frame_agreement_share", 0.6),), "The parts of the speech disagree: only 60.0 % of its frames"),
        ((signal("digital_silence_share", 0.18),), "18.0 % of the recording is digital silence"),
        (
            (signal("generations", 2.0), signal("cutoff_hz", 3_400.0), signal("unused_band_hz", 4_600.0)),
            "The file is in pcm_s16le, but its sound ends at 3.4 kHz as that of an earlier, narrower copy or of",
        ),
    ],
)
def test_what_an_examiner_should_look_into_is_said(signals: tuple[Signal, ...], words: str) -> None:
    case = replace(finding(0.5), signals=signals, codec="pcm_s16le")
    assert any(text.startswith(words) for text in explain(case, MEASURED, THRESHOLDS))
