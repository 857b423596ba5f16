from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from earwitness.detector import Detector, DetectorInput
from earwitness.errors import ModelMismatchError, ModelNotFoundError
from earwitness.model_spec import MODEL_ENVIRONMENT_VARIABLE
from earwitness.onnx_detector import OnnxAudioDetector
from tests.audio_files import write_audio
from tests.speechlike import speechlike
from tests.toy_model import write_toy_model


def test_it_is_a_detector(toy_model: Path) -> None:
    detector: Detector = OnnxAudioDetector(toy_model)
    assert detector.model_version == "toy-1"


def test_the_environments_model_is_the_default(toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODEL_ENVIRONMENT_VARIABLE, str(toy_model))
    assert OnnxAudioDetector().spec.model_version == "toy-1"


def test_a_missing_model_is_found_at_once(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        OnnxAudioDetector(tmp_path / "none.onnx")


def test_a_wrong_model_is_found_at_once(tmp_path: Path) -> None:
    graph = write_toy_model(tmp_path)
    graph.write_bytes(b"")
    with pytest.raises(ModelMismatchError):
        OnnxAudioDetector(graph)


def test_ten_at_once_give_what_one_gives(tmp_path: Path, toy_model: Path) -> None:
    detector = OnnxAudioDetector(toy_model)
    paths = [write_audio(tmp_path / f"{seed}.wav", speechlike(3.0, seed)) for seed in range(5)] * 2
    expected = [detector.analyze(DetectorInput(path)).windows for path in paths]
    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(lambda path: detector.analyze(DetectorInput(path)).windows, paths)) == expected
