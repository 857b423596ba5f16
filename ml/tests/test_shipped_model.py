"""What must hold of the model that is shipped, on the recordings in examples/."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from earwitness.canonical import canonicalise
from earwitness.media import read_waveform
from earwitness.scorer import Scorer, load_scorer
from earwitness.sources import MEDIA_SUFFIXES
from earwitness.waveform import Samples, sample_count
from ml.evaluation.conditions import EXTREME
from ml.evaluation.summary_goals import MODEL_LIMIT_BYTES
from ml.export.graph import check_graph

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "audio" / "latest.onnx"
WINDOW = sample_count(4.0)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return load_scorer(MODEL)


def llrs(scorer: Scorer, waveforms: list[Samples]) -> np.ndarray:
    scores = [float(scorer.score(canonicalise(w[:WINDOW]).samples[np.newaxis]).score[0]) for w in waveforms]
    return np.array([scorer.spec.calibration.llr(score) for score in scores])


def test_it_passes_the_gates_of_the_export() -> None:
    check_graph(onnx.load(MODEL))
    assert MODEL.stat().st_size <= MODEL_LIMIT_BYTES


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
