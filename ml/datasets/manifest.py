"""The manifest: one CSV row a recording, the same columns for every corpus.

Training, validation and the shortcut report read manifests and nothing else; how a corpus lies on disk is the
concern of its recipe. Nothing here opens a recording.

    clips = read_manifest(Path("data/in_the_wild/manifest.csv"))
    train = [clip for clip in clips if clip.split == "train"]
    write_manifest(Path("data/mine.csv"), train)

Paths in the file are relative to the manifest's folder, with forward slashes, or absolute; in memory they are
always joined to it.
"""

import csv
import hashlib
import math
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TypeVar

from ml.datasets.errors import ManifestError

UNKNOWN = "unknown"
"""What a corpus doesn't tell. Never a group of its own: two unknown speakers may be two people."""

HUMAN = "human"
"""`kind`, `system` and `lineage` of bona fide speech."""


class Label(StrEnum):
    BONAFIDE = "bonafide"
    SPOOF = "spoof"


class Kind(StrEnum):
    HUMAN = HUMAN
    TTS = "tts"
    VC = "vc"
    """Voice conversion."""
    VOCODER = "vocoder"
    """Copy-synthesis: real speech analysed and synthesised again."""
    CODEC = "codec"
    """Resynthesis by a neural codec."""
    EDIT = "edit"
    """Partly synthetic."""
    UNKNOWN = UNKNOWN


@dataclass(frozen=True, slots=True)
class Clip:
    path: Path
    label: Label
    kind: Kind
    system: str
    """The generator as its corpus names it; `human` for bona fide speech."""
    lineage: str
    """The system without its variants: what may not occur both in training and in a test of unseen systems."""
    speaker: str
    """Unique within all corpora where known (`asvspoof2019-LA_0079`), else `unknown`."""
    source_set: str
    """The collection of human speech behind the clip (vctk, ljspeech, ...)."""
    source_repo: str
    """Where the clip was published: the group for folds. The corpus's name where there is only one place."""
    language: str
    """ISO 639-1 code where known, else `unknown`."""
    duration_s: float
    sample_rate_hz: int
    """Of the file as it is stored."""
    codec: str
    """FFmpeg's name: flac, mp3, aac, opus, pcm_s16le, ..."""
    split: str
    """train, dev or eval, as published where the corpus publishes splits."""
    corpus: str
    source_rate_hz: int | None = None
    """Of the recording before the corpus's makers resampled it, where they tell."""

    @property
    def is_spoof(self) -> bool:
        return self.label is Label.SPOOF


COLUMNS = (
    "path",
    "label",
    "kind",
    "system",
    "lineage",
    "speaker",
    "source_set",
    "source_repo",
    "language",
    "duration_s",
    "sample_rate_hz",
    "codec",
    "split",
    "corpus",
    "source_rate_hz",
)
OPTIONAL_COLUMNS = frozenset({"source_rate_hz"})

E = TypeVar("E", bound=StrEnum)


def read_manifest(path: Path) -> list[Clip]:
    """Every row, in the file's order.

    Raises ManifestError, with the line, for a missing or unknown column, an unknown label or kind, a number
    that is none, a label that contradicts its kind, an empty field, or a path that occurs twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # a spreadsheet puts a mark before UTF-8
            return _parse(csv.DictReader(file, strict=True), path)
    except FileNotFoundError as e:
        raise ManifestError(f"{path}: no such manifest; make it with `python -m ml.datasets prepare`") from e
    except (UnicodeDecodeError, csv.Error) as e:
        raise ManifestError(f"{path}: not a CSV file in UTF-8 ({e})") from e


def write_manifest(path: Path, clips: Iterable[Clip]) -> Path:
    """Write all of `clips` or nothing: to a temporary name, synced, then renamed. Folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.parent.resolve()
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(_to_row(clip, folder) for clip in clips)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path


def manifest_sha256(path: Path) -> str:
    """Hash of the file's bytes: what a checkpoint stores to say what it was trained on."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse(reader: "csv.DictReader[str]", path: Path) -> list[Clip]:
    header = reader.fieldnames
    if not header:
        raise ManifestError(f"{path}: empty; the first line must name the columns {','.join(COLUMNS)}")
    if missing := [name for name in COLUMNS if name not in header and name not in OPTIONAL_COLUMNS]:
        raise ManifestError(f"{path}:1: missing columns {', '.join(missing)}")
    if unknown := [name for name in header if name not in COLUMNS]:
        raise ManifestError(f"{path}:1: unknown columns {', '.join(unknown)}; known are {', '.join(COLUMNS)}")
    folder = path.parent.resolve()
    clips: list[Clip] = []
    seen: dict[Path, int] = {}
    for row in reader:
        line = reader.line_num
        try:
            clip = _to_clip(row, folder)
        except ValueError as e:
            raise ManifestError(f"{path}:{line}: {e}") from e
        if clip.path in seen:
            raise ManifestError(f"{path}:{line}: {row['path']} is already on line {seen[clip.path]}")
        seen[clip.path] = line
        clips.append(clip)
    return clips


def _to_clip(row: Mapping[str, str | None], folder: Path) -> Clip:
    if None in row or any(value is None for value in row.values()):
        raise ValueError("more or fewer fields than the header has columns")
    fields = {name: (value or "").strip() for name, value in row.items()}
    if empty := [name for name, value in fields.items() if not value and name not in OPTIONAL_COLUMNS]:
        raise ValueError(f"{', '.join(empty)} must not be empty; write `{UNKNOWN}` for what is not known")
    label = _member(Label, fields["label"], "label")
    kind = _member(Kind, fields["kind"], "kind")
    if (label is Label.BONAFIDE) != (kind is Kind.HUMAN):
        raise ValueError(f"label {label} contradicts kind {kind}: human speech is bonafide, all else is spoof")
    source_rate = fields.get("source_rate_hz", "")
    return Clip(
        path=folder / PurePosixPath(fields["path"]),
        label=label,
        kind=kind,
        system=fields["system"],
        lineage=fields["lineage"],
        speaker=fields["speaker"],
        source_set=fields["source_set"],
        source_repo=fields["source_repo"],
        language=fields["language"],
        duration_s=_positive(fields["duration_s"], "duration_s"),
        sample_rate_hz=_positive_int(fields["sample_rate_hz"], "sample_rate_hz"),
        codec=fields["codec"],
        split=fields["split"],
        corpus=fields["corpus"],
        source_rate_hz=_positive_int(source_rate, "source_rate_hz") if source_rate else None,
    )


def _to_row(clip: Clip, folder: Path) -> dict[str, str]:
    row = {name: getattr(clip, name) for name in COLUMNS}
    absolute = clip.path if clip.path.is_absolute() else Path.cwd() / clip.path
    row["path"] = (absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute).as_posix()
    row["duration_s"] = f"{clip.duration_s:.3f}"
    row["source_rate_hz"] = "" if clip.source_rate_hz is None else clip.source_rate_hz
    return {name: str(value) for name, value in row.items()}


def _member(choices: type[E], value: str, column: str) -> E:
    try:
        return choices(value)
    except ValueError:
        raise ValueError(f"unknown {column} {value!r}; known are {', '.join(choices)}") from None


def _positive(text: str, column: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{column} must be a number, not {text!r}") from None
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{column} must be finite and above zero, not {text}")
    return value


def _positive_int(text: str, column: str) -> int:
    value = _positive(text, column)
    if value != int(value):
        raise ValueError(f"{column} must be a whole number, not {text}")
    return int(value)
