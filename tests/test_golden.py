"""The shipped models on the recordings in examples/: scores pinned, verdicts in their range.

After a new model was promoted: `python scripts/update_golden.py`, and look at what changed.
"""

import csv
import json
from pathlib import Path

import pytest

from earwitness.finding import Abstention, Verdict
from earwitness.model_spec import PROFILES, load_spec
from earwitness.pipeline import examine
from earwitness.scorer import Scorer, load_scorer

ROOT = Path(__file__).resolve().parents[1]
SHELF = ROOT / "models" / "audio"
GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text(encoding="utf-8"))
MODELS = list(GOLDEN)
SCORE_TOLERANCE = 1e-3
"""Of the raw logit: what another processor's rounding and FFmpeg build may change."""
ALLOWED = {
    "human": {Verdict.AUTHENTIC, Verdict.SUSPICIOUS},
    "synthetic": {Verdict.DEEPFAKE, Verdict.SUSPICIOUS},
    "partly synthetic": {Verdict.DEEPFAKE, Verdict.SUSPICIOUS},
    "no sound": {Verdict.SUSPICIOUS},
}


def _examples() -> list[tuple[str, str]]:
    with (ROOT / "examples" / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return [(row["file"], row["expected"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def scorer(model: str) -> Scorer:
    return load_scorer(SHELF / f"{model}.onnx")


def test_every_shipped_model_is_pinned() -> None:
    assert set(MODELS) == set(PROFILES.values())


def test_the_pins_are_of_the_shipped_model(model: str) -> None:
    assert GOLDEN[model]["graph_sha256"] == load_spec(SHELF / f"{model}.onnx").graph_sha256
    assert set(GOLDEN[model]["scores"]) == {file for file, _ in _examples()}


@pytest.mark.parametrize("file", [file for file, _ in _examples()])
def test_scores_are_pinned(file: str, model: str, scorer: Scorer) -> None:
    score = examine(ROOT / "examples" / file, scorer).score
    pinned = GOLDEN[model]["scores"][file]
    assert score == (None if pinned is None else pytest.approx(pinned, abs=SCORE_TOLERANCE))


@pytest.mark.parametrize(("file", "expected"), _examples())
def test_verdicts_are_in_their_range(file: str, expected: str, model: str, scorer: Scorer) -> None:
    output = examine(ROOT / "examples" / file, scorer)
    assert output.verdict in ALLOWED[expected] | set(map(Verdict, GOLDEN[model]["known_errors"].get(file, ())))
    assert (Abstention.NO_AUDIO_TRACK in output.abstentions) == (expected == "no sound")
