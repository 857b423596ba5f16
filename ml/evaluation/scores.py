"""The score table: one row a scored recording, the only thing that every figure is made from.

    table = read_scores(Path("runs/a/dev-scores.csv"))
    clean = table.select(table.condition == "clean")

Reading, writing and selecting only. `ml.evaluation` holds no model: another program scores the recordings
and writes this table, so a figure can be made again without a graph or the audio. Embeddings lie elsewhere.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.evaluation.atomic_write import write_text

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
TextArray = NDArray[np.str_]

LABEL_BONAFIDE = "bonafide"
LABEL_SPOOF = "spoof"
CLEAN = "clean"
"""The condition of a recording that was scored as it lies on disk."""
UNKNOWN = "unknown"


class EvaluationInputError(ValueError):
    """What was handed to the evaluation can't give the figure asked for; the message says what to change."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable:
    """Columns of equal length. A clip scored under several conditions has one row for each."""

    clip: TextArray
    """Path of the recording as its manifest gives it: says which rows are the same recording."""
    score: FloatArray
    """Raw logit; higher = more likely spoof. Finite."""
    is_spoof: BoolArray
    kind: TextArray
    """human, tts, vc, vocoder, codec, edit"""
    system: TextArray
    lineage: TextArray
    """`system` without its variants: what must not be shared between fitting and judging."""
    language: TextArray
    source_repo: TextArray
    """Where the recording was published: clips of one source are not independent of each other."""
    condition: TextArray
    """`clean`, or what was done to the recording before scoring."""
    duration_s: FloatArray

    def __post_init__(self) -> None:
        lengths = {f.name: len(getattr(self, f.name)) for f in fields(self)}
        if len(set(lengths.values())) > 1:
            raise EvaluationInputError(f"columns differ in length: {lengths}")
        if not np.isfinite(self.score).all():
            row = int(np.flatnonzero(~np.isfinite(self.score))[0])
            raise EvaluationInputError(f"score of row {row} ({self.clip[row]}) is not finite: mend the scorer")
        if not (np.isfinite(self.duration_s).all() and (self.duration_s >= 0).all()):
            raise EvaluationInputError("every duration_s must be finite and not negative")

    def __len__(self) -> int:
        return len(self.score)

    def select(self, rows: BoolArray | NDArray[np.int_]) -> "ScoreTable":
        """The rows of a mask or of indices, in that order."""
        return ScoreTable(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def joined(tables: Sequence[ScoreTable]) -> ScoreTable:
    """The rows of all tables, in order."""
    return ScoreTable(**{f.name: np.concatenate([getattr(t, f.name) for t in tables]) for f in fields(ScoreTable)})


COLUMNS = (
    "clip",
    "score",
    "label",
    "kind",
    "system",
    "lineage",
    "language",
    "source_repo",
    "condition",
    "duration_s",
)
"""Of the CSV file; `label` is in words there, so that nobody has to guess what 1 means."""

_TEXT_COLUMNS = ("clip", "kind", "system", "lineage", "language", "source_repo", "condition")


def write_scores(path: Path, table: ScoreTable) -> Path:
    """Write all rows or nothing. Numbers are written so that reading gives the same bits back."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows(table))
    return write_text(path, text.getvalue())


def read_scores(path: Path) -> ScoreTable:
    """Read what `write_scores` wrote; EvaluationInputError names the file, the line and the fault."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise EvaluationInputError(f"{path}: the first line must be {','.join(COLUMNS)}")
            rows = [_checked_row(row, f"{path}:{reader.line_num}") for row in reader]
    except FileNotFoundError as e:
        raise EvaluationInputError(f"{path}: no such score table; score a manifest first") from e
    except (UnicodeDecodeError, csv.Error) as e:
        raise EvaluationInputError(f"{path}: not a CSV file in UTF-8 ({e})") from e
    return ScoreTable(
        score=np.array([float(row["score"]) for row in rows], dtype=np.float64),
        is_spoof=np.array([row["label"] == LABEL_SPOOF for row in rows], dtype=np.bool_),
        duration_s=np.array([float(row["duration_s"]) for row in rows], dtype=np.float64),
        **{name: np.array([row[name] for row in rows], dtype=np.str_) for name in _TEXT_COLUMNS},
    )


def _rows(table: ScoreTable) -> Iterator[list[str]]:
    for i in range(len(table)):
        cells = {name: str(getattr(table, name)[i]) for name in _TEXT_COLUMNS}
        cells["score"] = repr(float(table.score[i]))
        cells["duration_s"] = repr(float(table.duration_s[i]))
        cells["label"] = LABEL_SPOOF if table.is_spoof[i] else LABEL_BONAFIDE
        yield [cells[name] for name in COLUMNS]


def _checked_row(row: dict[str, str], where: str) -> dict[str, str]:
    if None in row.values() or None in row:
        raise EvaluationInputError(f"{where}: needs {len(COLUMNS)} cells")
    if row["label"] not in (LABEL_BONAFIDE, LABEL_SPOOF):
        raise EvaluationInputError(f"{where}: label must be bonafide or spoof, not {row['label']!r}")
    for name in ("score", "duration_s"):
        try:
            float(row[name])
        except ValueError as e:
            raise EvaluationInputError(f"{where}: {name} is not a number: {row[name]!r}") from e
    return row
