"""What must hold of the model that is shipped, on the recordings in examples/."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from earwitness.canonical import canonicalise
from earwitness.media import read_waveform
from earwitness.model_spec import PROFILES, load_spec
from earwitness.scorer import Scorer, load_scorer
from earwitness.sources import MEDIA_SUFFIXES
from earwitness.waveform import Samples, sample_count
from ml.config import load_experiment
from ml.evaluation.conditions import EXTREME
from ml.evaluation.summary_goals import MODEL_LIMIT_BYTES
from ml.export.graph import check_graph
from ml.export.promote import ACCURATE_LIMIT_BYTES

ROOT = Path(__file__).resolve().parents[2]
SHELF = ROOT / "models" / "audio"
LIMITS_BYTES = {"latest": MODEL_LIMIT_BYTES, "accurate": ACCURATE_LIMIT_BYTES}
WINDOW = sample_count(4.0)
WHISPER = ["Copyright (c) 2022 OpenAI", "Permission is hereby granted"]
NOTICES = {
    "base": ["Whisper base", *WHISPER],
    "tiny": ["Whisper tiny", *WHISPER, "Daily", "Redistributions in binary"],
}
"""By the encoder that is borrowed (`ml.models.encoders`): what its licences ask to be said."""


@pytest.fixture(scope="module", params=PROFILES.values())
def model(request: pytest.FixtureRequest) -> Path:
    return SHELF / f"{request.param}.onnx"


@pytest.fixture(scope="module")
def scorer(model: Path) -> Scorer:
    return load_scorer(model)


def llrs(scorer: Scorer, waveforms: list[Samples]) -> np.ndarray:
    scores = [float(scorer.score(canonicalise(w[:WINDOW]).samples[np.newaxis]).score[0]) for w in waveforms]
    return np.array([scorer.spec.calibration.llr(score) for score in scores])


def test_it_passes_the_gates_of_the_export(model: Path) -> None:
    check_graph(onnx.load(model))
    assert model.stat().st_size <= LIMITS_BYTES[model.stem]


def test_the_notices_of_borrowed_weights_travel_with_them(model: Path) -> None:
    """Of the encoder that the shipped model's experiment names, whichever that is."""
    notice = (SHELF / "NOTICE").read_text(encoding="utf-8")
    experiment = load_spec(model).training["experiment"]
    (recogniser,) = load_experiment(ROOT / "ml" / "experiments" / f"{experiment}.toml").model["recognisers"]
    told = [model.name, *NOTICES[recogniser["encoder"]]]
    assert [words for words in told if words not in notice] == []


def test_extreme_compression_makes_the_detector_less_sure(scorer: Scorer) -> None:
    files = [p for p in sorted((ROOT / "examples").iterdir()) if p.suffix in MEDIA_SUFFIXES]
    waveforms = [w for w in (read_waveform(path)[0] for path in files) if w.size]
    squeezed = [EXTREME(w, np.random.default_rng(1)) for w in waveforms]
    assert len(waveforms) == 10
    assert np.abs(llrs(scorer, squeezed)).mean() < np.abs(llrs(scorer, waveforms)).mean()


def test_level_and_dc_change_nothing(scorer: Scorer) -> None:
    waveform = read_waveform(ROOT / "examples" / "human-speaker-test.flac")[0][:WINDOW]
    changed = [waveform, 0.05 * waveform, waveform + np.float32(0.01)]
    assert np.ptp(llrs(scorer, changed)) < 0.05
