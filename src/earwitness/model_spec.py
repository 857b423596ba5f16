"""`latest.json`: everything about a detector that is not in its graph. Plain numbers, nothing pickled.

    spec = load_spec(Path("models/audio/latest.onnx"))      # reads latest.json beside it, checks the hash

Reading and checking only; `earwitness.scorer` runs the graph, `ml.export` writes the file.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.calibration import Calibration
from earwitness.canonical import CANONICAL_VERSION
from earwitness.chance import StretchChance
from earwitness.errors import ModelMismatchError, ModelNotFoundError
from earwitness.policy import Thresholds
from earwitness.waveform import SAMPLE_RATE_HZ
from earwitness.windows import WindowPlan

SPEC_VERSION = 1
MODEL_ENVIRONMENT_VARIABLE = "EARWITNESS_MODEL"
PROFILES = {"default": "latest", "accurate": "accurate"}
"""What the environment may name instead of a file: the models that come with the program, by their files' names."""
HASH_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SuitabilityLimits:
    """Below or above these a recording is not judged; how they were chosen stands in the model card."""

    min_duration_s: float
    min_speech_s: float
    min_level_dbfs: float
    """Of the speech: below it the rounding of 16-bit files and the gain of the canonical view's limit are heard."""
    min_snr_db: float
    min_bandwidth_hz: float
    max_ood_distance: float


@dataclass(frozen=True, slots=True)
class OodReference:
    """Where the training data lies in the embedding space: class means under one whitening.

    distance = min over classes of ||components @ (embedding - mean_of_class)|| (Lee et al., 2018,
    "A simple unified framework for detecting out-of-distribution samples").
    """

    means: tuple[tuple[float, ...], ...]
    """(classes, dim)"""
    components: tuple[tuple[float, ...], ...]
    """(rank, dim): the whitening"""

    def __post_init__(self) -> None:
        dims = {len(row) for row in (*self.means, *self.components)}
        if not self.means or not self.components or len(dims) != 1:
            raise ValueError("ood needs class means and whitening rows, all of one length")

    def distance(self, embedding: NDArray[np.float32]) -> float:
        """Distance of one embedding, shape (dim,), to the nearest class; 1 is about one standard deviation."""
        offsets = np.asarray(self.means) - embedding.astype(np.float64)
        whitened = offsets @ np.asarray(self.components).T
        rank = len(self.components)
        return float(np.sqrt((whitened**2).sum(axis=1).min() / rank))


@dataclass(frozen=True, slots=True)
class ModelSpec:
    model_version: str
    graph_sha256: str
    sample_rate_hz: int
    canonical_version: int
    window: WindowPlan
    min_window_s: float
    """The graph takes no window shorter than this."""
    frame_hop_s: float
    """Time from one frame score to the next."""
    inputs: Mapping[str, list[str | int]]
    """Name to shape; a text is a dynamic dimension."""
    outputs: Mapping[str, list[str | int]]
    calibration: Calibration
    thresholds: Thresholds
    thresholds_chosen: str
    """How, in words: for which error rates, on which data."""
    limits: SuitabilityLimits
    ood: OodReference
    stretch_chance: tuple[StretchChance, ...] = ()
    """One a hop; (): not measured, and every stretch is marked."""
    training: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    git_commit: str = "unknown"
    seed: int = 0
    spec_version: int = SPEC_VERSION

    def chance_at(self, hop_s: float) -> StretchChance | None:
        """Of stretches in recordings whose windows come every `hop_s`; None where that was not measured."""
        return next((chance for chance in self.stretch_chance if chance.hop_s == hop_s), None)

    def to_json(self) -> str:
        """The file's text: keys sorted, one trailing newline; `parse_spec` reads it back equal."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def default_model_path() -> Path:
    """The graph to use where none is named: the environment's, else that of the profile `default`."""
    return model_path(os.environ.get(MODEL_ENVIRONMENT_VARIABLE) or "default")


def model_path(named: str) -> Path:
    """The graph of one of PROFILES, out of the wheel or else the repository; any other name is a path."""
    if named not in PROFILES:
        return Path(named)
    package = Path(__file__).resolve().parent
    in_wheel = package / "_model"
    folder = in_wheel if in_wheel.exists() else package.parents[1] / "models" / "audio"
    return folder / f"{PROFILES[named]}.onnx"


def load_spec(graph_path: Path) -> ModelSpec:
    """Read the spec beside `graph_path` and check that the two belong together and to this version.

    Raises ModelNotFoundError where either file is missing, ModelMismatchError where they don't fit.
    """
    spec_path = graph_path.with_suffix(".json")
    for path, what in ((graph_path, "graph"), (spec_path, "spec")):
        if not path.is_file():
            raise ModelNotFoundError(
                f"no model {what} at {path}: set {MODEL_ENVIRONMENT_VARIABLE} to a .onnx file with its .json "
                "beside it, or make one with `make train export`"
            )
    try:
        spec = parse_spec(spec_path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ModelMismatchError) as error:
        raise ModelMismatchError(f"the model spec {spec_path} can't be used: {error}") from error
    actual = file_sha256(graph_path)
    if actual != spec.graph_sha256:
        raise ModelMismatchError(
            f"{graph_path} has SHA-256 {actual[:12]}..., its spec says {spec.graph_sha256[:12]}...: "
            "copy graph and spec of one version together"
        )
    return spec


def parse_spec(text: str) -> ModelSpec:
    """The spec in `text`; an unknown, missing or ill-typed key raises ModelMismatchError that names it."""
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        raise ModelMismatchError(f"not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ModelMismatchError("not a JSON object")
    if raw.get("spec_version") != SPEC_VERSION:
        raise ModelMismatchError(f"spec_version is {raw.get('spec_version')}, this program reads {SPEC_VERSION}")
    unknown = raw.keys() - {f.name for f in fields(ModelSpec)}
    if unknown:
        raise ModelMismatchError(f"unknown keys: {', '.join(sorted(unknown))}")
    try:
        ood = raw["ood"]
        spec = ModelSpec(
            **{
                **raw,
                "window": WindowPlan(**raw["window"]),
                "calibration": Calibration(**raw["calibration"]),
                "thresholds": Thresholds(**raw["thresholds"]),
                "limits": SuitabilityLimits(**raw["limits"]),
                "ood": OodReference(
                    means=tuple(tuple(map(float, row)) for row in ood["means"]),
                    components=tuple(tuple(map(float, row)) for row in ood["components"]),
                ),
                "stretch_chance": tuple(StretchChance(**chance) for chance in raw.get("stretch_chance", ())),
            }
        )
        _check_types(spec)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelMismatchError(f"missing or ill-formed value: {error}") from error
    if spec.sample_rate_hz != SAMPLE_RATE_HZ:
        raise ModelMismatchError(f"made for {spec.sample_rate_hz} Hz, this program works at {SAMPLE_RATE_HZ} Hz")
    if spec.canonical_version != CANONICAL_VERSION:
        raise ModelMismatchError(
            f"trained on canonical view {spec.canonical_version}, this program makes {CANONICAL_VERSION}: "
            "train it anew or use the matching release"
        )
    return spec


def _check_types(spec: ModelSpec) -> None:
    """Raises TypeError where JSON gave a value of another type than the field's."""
    texts = ("model_version", "graph_sha256", "thresholds_chosen", "git_commit")
    numbers = ("min_window_s", "frame_hop_s")
    tables = ("inputs", "outputs", "training", "evaluation")
    for names, wanted in ((texts, str), (numbers, int | float), (tables, dict)):
        for name in names:
            if not isinstance(getattr(spec, name), wanted):
                raise TypeError(f"{name} is {getattr(spec, name)!r}")
    for name, value in asdict(spec.limits).items():
        if not isinstance(value, int | float):
            raise TypeError(f"limits.{name} is {value!r}")


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
