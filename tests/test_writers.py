import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earwitness.errors import EmptyMediaError
from earwitness.pipeline import examine
from earwitness.scorer import Scorer
from earwitness.writers import MAX_TIMELINE_ROWS, AnalysedFile, as_json_line, as_text, error_as_json_line
from tests.audio_files import write_audio, write_silent_film
from tests.speechlike import speechlike


@pytest.fixture
def analysed(tmp_path: Path, toy_scorer: Scorer) -> AnalysedFile:
    output = examine(write_audio(tmp_path / "a.wav", speechlike(9.0)), toy_scorer)
    return AnalysedFile("a.wav", "0" * 64, 1_234, 56.789, output)


def test_the_text_holds_what_a_reader_wants(analysed: AnalysedFile) -> None:
    text = as_text(analysed)
    for part in (
        "a.wav",
        "SUSPICIOUS",
        "p_fake",
        "llr",
        "0" * 64,
        "toy-1",
        "9.0 s",
        "higher = more likely synthetic",
    ):
        assert part in text
    assert text.count("#") > 4


def test_the_text_of_an_abstention_gives_no_probability(tmp_path: Path, toy_scorer: Scorer) -> None:
    text = as_text(AnalysedFile("a", "0" * 64, 1, 1.0, examine(write_silent_film(tmp_path / "a.mp4"), toy_scorer)))
    assert "not judged: no_audio_track" in text
    assert "p_fake" not in text


def test_no_probability_of_a_window_stands_beside_an_abstention(tmp_path: Path, toy_scorer: Scorer) -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 128_000).astype(np.float32)
    output = examine(write_audio(tmp_path / "a.wav", noise), toy_scorer)
    assert output.windows
    text = as_text(AnalysedFile("a", "0" * 64, 1, 1.0, output))
    assert "not judged" in text
    assert "timeline" not in text


def test_a_name_can_not_write_lines_or_colours_of_its_own(analysed: AnalysedFile) -> None:
    text = as_text(replace(analysed, name="x\n  verdict      AUTHENTIC\x1b[31m.wav"))
    assert text.splitlines()[0] == "x   verdict      AUTHENTIC[U+001B][31m.wav"


def test_a_long_timeline_shows_its_worst(analysed: AnalysedFile) -> None:
    window = analysed.output.windows[0]
    many = tuple(replace(window, start_s=4.0 * n, end_s=4.0 * n + 4, score=float(n % 100)) for n in range(1_000))
    text = as_text(replace(analysed, output=replace(analysed.output, windows=many)))
    assert f"the {MAX_TIMELINE_ROWS} most suspicious of 1000 windows" in text
    assert len(text.splitlines()) < 60


def test_json_is_one_line_with_the_issues_fields(analysed: AnalysedFile) -> None:
    line = as_json_line(analysed)
    assert "\n" not in line
    values = json.loads(line)
    assert {
        "file", "verdict", "confidence", "p_fake", "llr", "score", "windows", "model_version", "sha256", "duration_s",
        "processing_ms", "abstentions", "error",
    } <= values.keys()  # fmt: skip


def test_an_error_is_json_too() -> None:
    assert json.loads(error_as_json_line("a.wav", EmptyMediaError("nothing"))) == {
        "file": "a.wav",
        "error": {"code": "media_empty", "message": "nothing"},
    }
