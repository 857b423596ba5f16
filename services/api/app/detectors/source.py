"""Where a detector comes from: described in the service's process, loaded in each worker's.

A source is a small frozen value that travels to the worker by pickle, so its class must be importable there.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol

from earwitness.detector import Detector, DetectorInput, DetectorOutput, Progress
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

    def fingerprint(self) -> str:
        """Hex SHA-256 of all of it: equal where two processes mean the same detector."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


class DetectorSource(Protocol):
    @property
    def name(self) -> str:
        """Of its file, or of what it stands for; no path."""
        ...

    @property
    def folder(self) -> Path:
        """Where it lies: what messages leave out."""
        ...

    def beside(self) -> Iterable["DetectorSource"]:
        """The other detectors on the same shelf, in a fixed order."""
        ...

    def kept_as(self, model_version: str, /) -> tuple["DetectorSource", ...]:
        """Where the same detector is found once this place holds another one."""
        ...

    def describe(self) -> DetectorDescription:
        """Check what can be checked without loading it. Raises earwitness.errors.ModelError."""
        ...

    def load(self) -> Detector:
        """Make it ready, in the process that will use it. Raises earwitness.errors.ModelError."""
        ...


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """Which detector a worker shall use; small, since it travels with every run."""

    places: tuple[DetectorSource, ...]
    """Looked at in turn, since a promotion may have moved it from the first."""
    fingerprint: str


@dataclass(frozen=True, slots=True)
class OnnxSource:
    """A graph with its spec beside it, in a folder that may hold more of them."""

    graph: Path

    @property
    def name(self) -> str:
        return self.graph.name

    @property
    def folder(self) -> Path:
        return self.graph.parent

    def beside(self) -> Iterable["OnnxSource"]:
        return [OnnxSource(graph) for graph in sorted(self.folder.glob("[!.]*.onnx")) if graph != self.graph]

    def kept_as(self, model_version: str, /) -> tuple["OnnxSource", ...]:
        kept = self.folder / f"{model_version}.onnx"
        return (OnnxSource(kept),) if kept.parent == self.folder and kept != self.graph else ()

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
    others: tuple["DummySource", ...] = ()

    @property
    def name(self) -> str:
        return self.detector.model_version

    @property
    def folder(self) -> Path:
        return Path("dummies")

    def beside(self) -> Iterable["DummySource"]:
        return self.others

    def kept_as(self, _model_version: str, /) -> tuple["DummySource", ...]:
        return ()

    def describe(self) -> DetectorDescription:
        version = self.detector.model_version
        return DetectorDescription(version, None, None, None, MethodMetadata(version, tools=installed_tools()))

    def load(self) -> Detector:
        return _ByFilename(self.detector) if self.by_filename else self.detector


@dataclass(frozen=True, slots=True)
class _ByFilename:
    usual: DummyDetector
    model_version: str = DUMMY_VERSION

    def analyze(self, evidence: DetectorInput, progress: Progress | None = None) -> DetectorOutput:
        wanted = evidence.metadata.get("filename", "").split("-")[0]
        if wanted not in list(Behaviour):
            return self.usual.analyze(evidence, progress)
        return replace(self.usual, behaviour=Behaviour(wanted)).analyze(evidence, progress)
