"""The catalogue is closed, and its words change only on purpose: tests/explanations.txt is their snapshot."""

import string
from pathlib import Path

import pytest

from earwitness.explain_catalogue import Code, render, sentence, templates
from earwitness.grounds import Direction, Severity

SNAPSHOT = Path(__file__).with_name("explanations.txt")
FIGURES: dict[str, float | str] = {
    "p_fake": 0.876,
    "t_low": 0.2,
    "t_high": 0.8,
    "start_s": 3.2,
    "end_s": 4.8,
    "total_s": 75.0,
    "where": "3.2 s to 4.8 s",
    "llr_with": 1.94,
    "llr_without": 0.21,
    "value": 0.8,
    "percent": 97,
    "names": "pitch variability",
    "parts": "7.2 s of speech in 9.0 s",
    "share": 0.25,
    "codec": "mp3float",
    "edge_khz": 3.4,
    "bandwidth_khz": 3.9,
    "verdict": "DEEPFAKE",
    "prior": 0.99,
    "llr": -1.04,
    "evidence_verdict": "SUSPICIOUS",
    "reasons": "it holds too little speech",
}


def everything() -> str:
    """Each code, what it does and its sentence with fixed figures, as one text."""
    lines = []
    for code in Code:
        said = sentence(code, **FIGURES)
        lines.append(f"{said.code} [{said.severity.value}, {said.direction.value}] {said.text}\n")
    return "".join(lines)


def test_snapshot_of_every_sentence() -> None:
    """Where a change is meant, write `everything()` into the file: codes of old records must keep their meaning."""
    assert everything() == SNAPSHOT.read_text(encoding="utf-8")


def test_codes_and_templates_are_the_same_set() -> None:
    assert set(templates()) == {code.value for code in Code}


def test_exactly_the_verdicts_state_a_verdict() -> None:
    stating = {code for code in Code if sentence(code, **FIGURES).severity is Severity.VERDICT}
    assert stating == {
        Code.VERDICT_DEEPFAKE,
        Code.VERDICT_AUTHENTIC,
        Code.VERDICT_SUSPICIOUS,
        Code.VERDICT_AT_PRIOR,
        Code.NOT_JUDGED,
    }


def test_a_reservation_takes_no_side() -> None:
    for code in Code:
        said = sentence(code, **FIGURES)
        if said.severity in (Severity.CAUTION, Severity.INFO):
            assert said.direction is Direction.NEITHER


@pytest.mark.parametrize("code", list(Code))
def test_a_template_uses_known_figures_only(code: Code) -> None:
    """A translation gets the same figures."""
    named = {name for _, name, _, _ in string.Formatter().parse(templates()[code.value]) if name}
    assert named <= FIGURES.keys()


def test_code_and_figures_make_the_text_again() -> None:
    said = sentence(Code.DELETION_FALLS, start_s=3.2, end_s=4.8, llr_with=1.9, llr_without=0.2)
    assert render(Code(said.code), said.figures) == said.text


def test_a_missing_figure_is_an_error() -> None:
    with pytest.raises(KeyError, match="share"):
        sentence(Code.CLIPPED)


def test_a_language_that_there_is_not_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        render(Code.CLIPPED, {"share": 0.1}, language="tlh")
