"""The grounds as an examination gives them, end to end, with the toy model."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earwitness.cli import main
from earwitness.detector import DetectorOutput
from earwitness.finding import Verdict
from earwitness.grounds import Severity
from earwitness.output_json import grounds_from_dict
from earwitness.pipeline import ExamineOptions, examine
from earwitness.scorer import Scorer
from earwitness.signals import METERS
from earwitness.waveform import SAMPLE_RATE_HZ, Samples
from tests.audio_files import write_audio, write_silent_film
from tests.speechlike import speechlike


def partly_hissing(duration_s: float = 16.0) -> Samples:
    """Hiss from 6 s to 9 s, which the toy takes for synthesis; the rest ends at 3.5 kHz."""
    sound = speechlike(duration_s, 4)
    spectrum = np.fft.rfft(sound)
    spectrum[np.fft.rfftfreq(sound.size, 1 / SAMPLE_RATE_HZ) > 3_500.0] = 0.0
    dull = np.fft.irfft(spectrum, sound.size).astype(np.float32)
    hiss = np.diff(np.random.default_rng(0).normal(0, 0.03, sound.size), n=2, prepend=[0.0, 0.0])
    span = slice(6 * SAMPLE_RATE_HZ, 9 * SAMPLE_RATE_HZ)
    dull[span] = (sound + hiss)[span].astype(np.float32)
    return dull


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory, toy_scorer: Scorer) -> DetectorOutput:
    return examine(write_audio(tmp_path_factory.mktemp("a") / "a.wav", partly_hissing()), toy_scorer)


def test_the_texts_are_those_of_the_explanations(output: DetectorOutput) -> None:
    assert output.grounds is not None
    assert output.explanations == tuple(each.text for each in output.grounds.explanations)
    assert output.grounds.explanations[0].severity is Severity.VERDICT


def test_every_signal_is_among_the_flat_ones(output: DetectorOutput) -> None:
    assert output.grounds is not None
    assert len(output.grounds.signals) > len(METERS)
    for signal in output.grounds.signals:
        assert output.signals[signal.name] == signal.value


def test_the_stretch_lies_where_the_hiss_is(output: DetectorOutput) -> None:
    assert output.grounds is not None
    heaviest = max(output.grounds.stretches, key=lambda stretch: stretch.llr * (stretch.end_s - stretch.start_s))
    assert 5.5 <= heaviest.start_s < heaviest.end_s <= 10.0
    assert 0.5 < heaviest.strength <= 1.0


def test_deletion_and_curve_are_there(output: DetectorOutput) -> None:
    assert output.grounds is not None
    assert output.grounds.frames is not None
    assert len(output.grounds.frames.llr) == 100
    assert output.grounds.deletions[0].llr_with == output.llr
    assert output.timings_ms["deletion"] > 0.0
    assert output.timings_ms["signals"] > 0.0


def test_where_nothing_is_judged_no_part_is(tmp_path: Path, toy_scorer: Scorer) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 64_000).astype(np.float32)
    output = examine(write_audio(tmp_path / "a.wav", noise), toy_scorer)
    assert output.grounds is not None
    assert output.verdict is Verdict.SUSPICIOUS
    assert (output.grounds.stretches, output.grounds.deletions, output.grounds.frames) == ((), (), None)
    assert output.signals["noise_floor_dbfs"] is not None


def test_a_film_without_sound_has_a_sentence_and_no_signals(tmp_path: Path, toy_scorer: Scorer) -> None:
    output = examine(write_silent_film(tmp_path / "a.mp4"), toy_scorer)
    assert output.grounds is not None
    assert output.grounds.signals == ()
    assert [each.code for each in output.grounds.explanations] == ["not_judged"]


def test_a_scan_can_do_without(tmp_path: Path, toy_scorer: Scorer) -> None:
    path = write_audio(tmp_path / "a.wav", partly_hissing(8.0))
    plain, full = examine(path, toy_scorer, ExamineOptions(grounds=False)), examine(path, toy_scorer)
    assert plain.grounds is None
    assert (plain.score, plain.windows, plain.verdict) == (full.score, full.windows, full.verdict)
    assert "signals" not in plain.timings_ms


def test_without_a_table_values_stand_alone(tmp_path: Path, toy_scorer: Scorer) -> None:
    path = write_audio(tmp_path / "a.wav", speechlike(4.0))
    output = examine(path, toy_scorer, ExamineOptions(usual_ranges=None))
    assert output.grounds is not None
    assert output.grounds.usual_ranges_version is None
    assert all(signal.human is None for signal in output.grounds.signals)
    assert any(signal.value is not None for signal in output.grounds.signals)


def test_beside_the_values_stands_what_is_usual(output: DetectorOutput) -> None:
    assert output.grounds is not None
    assert output.grounds.usual_ranges_version is not None
    flux = next(signal for signal in output.grounds.signals if signal.name == "spectral_flux")
    assert flux.human is not None and flux.synthetic is not None
    assert flux.human.low < flux.human.median < flux.human.high


def test_the_command_line_prints_them_as_json(
    tmp_path: Path, toy_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_audio(tmp_path / "a.wav", partly_hissing())
    assert main(["analyze", str(path), "--json", "--model", str(toy_model)]) == 0
    printed = json.loads(capsys.readouterr().out)
    grounds = grounds_from_dict(printed["grounds"])
    assert grounds.signals and grounds.stretches and grounds.deletions
    assert [each.text for each in grounds.explanations] == printed["explanations"]


@pytest.mark.parametrize("made", [lambda: speechlike(1.2), lambda: speechlike(3.9), lambda: partly_hissing(9.0)])
def test_the_same_recording_gives_the_same_grounds(
    tmp_path: Path, toy_scorer: Scorer, made: Callable[[], Samples]
) -> None:
    path = write_audio(tmp_path / "a.mp3", made(), codec="libmp3lame")
    assert examine(path, toy_scorer).grounds == examine(path, toy_scorer).grounds
