"""The seam between a recording and whatever judges it.

A `Detector` is anything with this one method and this one property. The service, the scanner and the command line
know nothing else; `earwitness.onnx_detector` and `earwitness.dummy` implement it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from earwitness.finding import Abstention, MediaInfo, Stretch, Verdict, WindowScore
from earwitness.grounds import Grounds

Progress = Callable[[float, float | None], None]
"""Called now and then with the seconds of sound that are examined, and those that the container declares, if any.

What it declares may be wrong, in either direction."""


@dataclass(frozen=True, slots=True)
class DetectorInput:
    path: Path
    """The evidence as it lies on disk; its name is no hint to its content."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the caller knows of the recording (the user's file name as `filename`, ...): for messages only."""


@dataclass(frozen=True, slots=True)
class DetectorOutput:
    verdict: Verdict
    confidence: float
    """Probability of the likelier proposition, 0.5 to 1; 0.0 where nothing could be evaluated."""
    explanations: tuple[str, ...]
    signals: Mapping[str, float | None]
    """Measured values by name, the unit in the name (`speech_s`, `level_dbfs`); None: could not be measured."""
    model_version: str
    p_fake: float | None = None
    llr: float | None = None
    score: float | None = None
    windows: tuple[WindowScore, ...] = ()
    most_suspicious: Stretch | None = None
    abstentions: tuple[Abstention, ...] = ()
    media: MediaInfo | None = None
    duration_s: float | None = None
    """Length of the decoded sound."""
    warnings: tuple[str, ...] = ()
    """What an examiner should know of the decoding, such as damaged packets that were skipped."""
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    grounds: Grounds | None = None
    """The measurable grounds in full; None from a detector that gives none and where none were asked for."""


class Detector(Protocol):
    @property
    def model_version(self) -> str: ...

    def analyze(self, evidence: DetectorInput, progress: Progress | None = None) -> DetectorOutput:
        """Judge one recording, and tell `progress` how far that is.

        Raises `earwitness.errors.InputError` for a recording that can't be read. A recording that can be
        read but not judged is returned as an abstention.
        """
        ...
