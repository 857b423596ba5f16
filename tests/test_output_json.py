import json
from pathlib import Path

import pytest

from earwitness.detector import DetectorInput
from earwitness.dummy import DummyDetector
from earwitness.finding import Abstention
from earwitness.grounds import (
    ByChance,
    DeletionEvidence,
    Direction,
    Explanation,
    FrameCurve,
    Grounds,
    Severity,
    Signal,
    SuspiciousStretch,
    UsualRange,
)
from earwitness.output_json import grounds_as_dict, grounds_from_dict, output_as_dict, output_from_dict
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


def test_grounds_survive_the_way_through_json() -> None:
    usual = UsualRange(low=1.0, median=2.5, high=5.0, percentile=3.0, percent_above=96.5, count=900)
    grounds = Grounds(
        signals=(
            Signal("pitch_sd_semitones", "Pitch variability", 0.8, "semitones", "a paper", usual, usual, "wide"),
            Signal("dc_offset", "DC offset", None, "full scale", "a paper"),
        ),
        explanations=(
            Explanation("x", Severity.CAUTION, Direction.NEITHER, "Words.", {"n": 1.0, "codec": "mp3"}),
        ),
        stretches=(
            SuspiciousStretch(3.2, 4.8, 0.9, 2.2, 4.0, 12.5, 0.02),
            SuspiciousStretch(5.2, 5.8, 0.9, 2.2, 5.3),
        ),
        by_chance=ByChance(0.7, 2.0, 3.5, 0.1, 1),
        deletions=(DeletionEvidence(3.2, 4.8, 1.9, None, 0.87, None, 2.0, None),),
        frames=FrameCurve(0.16, (None, 0.5, -1.25)),
        usual_ranges_version="1",
    )
    assert grounds_from_dict(json.loads(json.dumps(grounds_as_dict(grounds), allow_nan=False))) == grounds


def test_grounds_of_before_stretches_were_weighed_are_read() -> None:
    old = grounds_as_dict(Grounds(stretches=(SuspiciousStretch(3.2, 4.8, 0.9, 2.2, 4.0),)))
    del old["by_chance"], old["stretches"][0]["weight"], old["stretches"][0]["expected_by_chance"]
    read = grounds_from_dict(json.loads(json.dumps(old)))
    assert read == Grounds(stretches=(SuspiciousStretch(3.2, 4.8, 0.9, 2.2, 4.0),))
