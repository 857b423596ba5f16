"""Where a detector comes from: described in the service's process, loaded in each worker's.

A source is a small frozen value that travels to the worker by pickle, so its class must be importable there.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from earwitness.detector import Detector, DetectorInput, DetectorOutput
from earwitness.dummy import MODEL_VERSION as DUMMY_VERSION
from earwitness.dummy import Behaviour, DummyDetector
from earwitness.errors import ModelNotFoundError
from earwitness.model_spec import ModelSpec, file_sha256, load_spec
from earwitness.report import MethodMetadata, installed_tools, method_from_spec


@dataclass(frozen=True, slots=True)
class DetectorDescription:
    model_version: str
    model_sha256: str | None
    spec: ModelSpec | None
    """None for a detector without weights, such as the dummy."""
    spec_sha256: str | None
    """Of the file: the graph's own hash says nothing of calibration, thresholds and limits."""
    method: MethodMetadata
    """What its runs are made with; what is installed now included."""


class DetectorSource(Protocol):
    def describe(self) -> DetectorDescription:
        """Check what can be checked without loading it. Raises earwitness.errors.ModelError."""
        ...

    def load(self) -> Detector:
        """Make it ready, in the process that will use it. Raises earwitness.errors.ModelError."""
        ...


@dataclass(frozen=True, slots=True)
class OnnxSource:
    """The shipped detector: a graph with its spec beside it."""

    graph: Path

    def describe(self) -> DetectorDescription:
        try:
            spec = load_spec(self.graph)
            spec_sha256 = file_sha256(self.graph.with_suffix(".json"))
        except OSError as error:
            raise ModelNotFoundError(f"the model {self.graph} can't be read: {error.strerror}") from error
        return DetectorDescription(
            spec.model_version, spec.graph_sha256, spec, spec_sha256, method_from_spec(spec)
        )

    def load(self) -> Detector:
        from earwitness.onnx_detector import OnnxAudioDetector  # noqa: PLC0415  only workers need the runtime

        try:
            return OnnxAudioDetector(self.graph)
        except OSError as error:
            raise ModelNotFoundError(f"the model {self.graph} can't be read: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class DummySource:
    """A detector that does not listen, for tests and for trying out what surrounds one.

    With `by_filename` a recording named `crash-1.wav` makes it crash, `hang-2.wav` hang, and so on through
    `earwitness.dummy.Behaviour`; any other name gets the behaviour of `detector`.
    """

    detector: DummyDetector = field(default_factory=DummyDetector)
    by_filename: bool = False

    def describe(self) -> DetectorDescription:
        version = self.detector.model_version
        return DetectorDescription(version, None, None, None, MethodMetadata(version, tools=installed_tools()))

    def load(self) -> Detector:
        return _ByFilename(self.detector) if self.by_filename else self.detector


@dataclass(frozen=True, slots=True)
class _ByFilename:
    usual: DummyDetector
    model_version: str = DUMMY_VERSION

    def analyze(self, evidence: DetectorInput) -> DetectorOutput:
        wanted = evidence.metadata.get("filename", "").split("-")[0]
        if wanted not in list(Behaviour):
            return self.usual.analyze(evidence)
        return DummyDetector(behaviour=Behaviour(wanted)).analyze(evidence)
