"""The real detector: the shipped graph behind the `Detector` protocol.

detector = OnnxAudioDetector()                       # the default model
output = detector.analyze(DetectorInput(path))
"""

from pathlib import Path

from earwitness.detector import DetectorInput, DetectorOutput, Progress
from earwitness.model_spec import ModelSpec, default_model_path
from earwitness.pipeline import ExamineOptions, examine
from earwitness.scorer import Scorer, load_scorer


class OnnxAudioDetector:
    """Loads its model once; `analyze` may be called from several threads."""

    def __init__(self, model_path: Path | None = None, *, threads: int = 1, options: ExamineOptions | None = None):
        """`threads` is per call of the network.

        Raises ModelNotFoundError or ModelMismatchError at once rather than at the first recording.
        """
        self._scorer = load_scorer(model_path or default_model_path(), threads)
        self._options = options or ExamineOptions()

    @property
    def model_version(self) -> str:
        return self._scorer.spec.model_version

    @property
    def spec(self) -> ModelSpec:
        return self._scorer.spec

    @property
    def scorer(self) -> Scorer:
        """The loaded network, for whoever scores more than whole recordings (the report's robustness panel)."""
        return self._scorer

    def analyze(self, evidence: DetectorInput, progress: Progress | None = None) -> DetectorOutput:
        return examine(evidence.path, self._scorer, self._options, progress)
