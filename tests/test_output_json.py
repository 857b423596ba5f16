import json
from pathlib import Path

import pytest

from earwitness.detector import DetectorInput
from earwitness.dummy import DummyDetector
from earwitness.finding import Abstention
from earwitness.output_json import output_as_dict, output_from_dict
from earwitness.pipeline import examine
from earwitness.scorer import Scorer
from tests.audio_files import write_audio, write_silent_film
from tests.speechlike import speechlike


def test_a_finding_survives_the_way_through_json(tmp_path: Path, toy_scorer: Scorer) -> None:
    output = examine(write_audio(tmp_path / "a.wav", speechlike(9.0)), toy_scorer)
    assert output_from_dict(json.loads(json.dumps(output_as_dict(output), allow_nan=False))) == output


def test_so_does_an_abstention(tmp_path: Path, toy_scorer: Scorer) -> None:
    output = examine(write_silent_film(tmp_path / "a.mp4"), toy_scorer)
    assert output_from_dict(json.loads(json.dumps(output_as_dict(output)))) == output


def test_unknown_words_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    raw = output_as_dict(DummyDetector(abstentions=(Abstention.NO_SPEECH,)).analyze(DetectorInput(path)))
    with pytest.raises(ValueError, match="MAYBE"):
        output_from_dict({**raw, "verdict": "MAYBE"})
    with pytest.raises(TypeError, match="colour"):
        output_from_dict({**raw, "colour": 1})
