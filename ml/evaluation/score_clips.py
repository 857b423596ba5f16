"""Score clips by an exported graph through the library, exactly as a user's recording is scored.

    scored = score_clips(Path("runs/a/candidate/model.onnx"), clips, ["clean", "opus_16k"], jobs=2, seed=1)
    write_scored(Path("runs/a/evaluation/dev"), scored)

The scores and measurements depend on the graph alone; what the spec makes of them (llr, abstention) is worked out
in `ml.evaluation.judge`, so that a new calibration needs no new scoring.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tqdm import tqdm

from earwitness.errors import InputError
from earwitness.media import read_waveform
from earwitness.pipeline import ExamineOptions, examine
from ml.datasets.manifest import Clip, Label
from ml.evaluation.atomic_write import write_text
from ml.evaluation.conditions import ALL_CONDITIONS
from ml.evaluation.scores import CLEAN, EvaluationInputError, ScoreTable, read_scores, write_scores
from ml.evaluation.worker import load, scorer
from ml.processes import spread
from ml.wav import write_wav


@dataclass(frozen=True, slots=True)
class Measured:
    """What the library measured of one clip under one condition; None: could not be measured."""

    clip: str
    condition: str
    duration_s: float
    speech_s: float
    level_dbfs: float | None
    snr_db: float | None
    bandwidth_hz: float | None
    ood_distance: float | None


@dataclass(frozen=True, slots=True)
class Scored:
    table: ScoreTable
    measured: tuple[Measured, ...]
    """One for each row of the table, in its order."""
    failed: tuple[str, ...]
    """A line for each clip that could not be scored."""


def score_clips(
    graph_path: Path,
    clips: Sequence[Clip],
    conditions: Sequence[str],
    *,
    jobs: int,
    seed: int,
    quiet: bool = False,
) -> Scored:
    """Score every clip under every condition in `jobs` processes; what is drawn at random depends on `seed`.

    A clip that can't be read is a line in `failed`. Raises EvaluationInputError for an unknown condition or where
    nothing could be scored.
    """
    check_conditions(conditions)
    work = [(clip, condition, [seed, i]) for condition in conditions for i, clip in enumerate(clips)]
    rows, measured, failed = [], [], []
    answers = spread(_score_one, work, jobs=jobs, initializer=load, initargs=(graph_path,), chunksize=8)
    for (clip, condition, _), answer in zip(
        work,
        tqdm(answers, total=len(work), unit="clip", desc=" ".join(conditions), disable=quiet, mininterval=2.0),
        strict=True,
    ):
        if isinstance(answer, str):
            failed.append(f"{clip.path} ({condition}): {answer}")
        else:
            rows.append((clip, condition, answer[0]))
            measured.append(answer[1])
    if not rows:
        raise EvaluationInputError(f"none of {len(clips)} clips could be scored; the first said: {failed[:1]}")
    return Scored(_table(rows, [m.duration_s for m in measured]), tuple(measured), tuple(failed))


def check_conditions(conditions: Sequence[str]) -> None:
    """Raises EvaluationInputError for a name that is not in the table of conditions."""
    if unknown := set(conditions) - ALL_CONDITIONS.keys():
        raise EvaluationInputError(f"unknown conditions {sorted(unknown)}; there are {sorted(ALL_CONDITIONS)}")


def write_scored(stem: Path, scored: Scored) -> None:
    """Write `STEM.measured.csv`, `STEM.failed.txt` and, last, `STEM.csv` (the score table)."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Measured)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in scored.measured)
    write_text(stem.with_suffix(".measured.csv"), text.getvalue())
    write_text(stem.with_suffix(".failed.txt"), "".join(f"{line}\n" for line in scored.failed))
    write_scores(stem.with_suffix(".csv"), scored.table)


def read_scored(stem: Path) -> Scored:
    """Read what `write_scored` wrote; EvaluationInputError where it is missing or torn."""
    table = read_scores(stem.with_suffix(".csv"))
    with stem.with_suffix(".measured.csv").open(encoding="utf-8", newline="") as file:
        measured = tuple(
            Measured(
                clip=row["clip"],
                condition=row["condition"],
                duration_s=float(row["duration_s"]),
                speech_s=float(row["speech_s"]),
                level_dbfs=_optional(row["level_dbfs"]),
                snr_db=_optional(row["snr_db"]),
                bandwidth_hz=_optional(row["bandwidth_hz"]),
                ood_distance=_optional(row["ood_distance"]),
            )
            for row in csv.DictReader(file)
        )
    if len(measured) != len(table):
        raise EvaluationInputError(f"{stem}: {len(table)} scores, but {len(measured)} measurements; score anew")
    return Scored(table, measured, tuple(stem.with_suffix(".failed.txt").read_text(encoding="utf-8").splitlines()))


def _optional(cell: str) -> float | None:
    return float(cell) if cell else None


def _score_one(work: tuple[Clip, str, list[int]]) -> tuple[float, Measured] | str:
    clip, condition, seed = work
    try:
        with _recording(clip, condition, seed) as path:
            output = examine(path, scorer(), ExamineOptions(grounds=False))
    except InputError as error:
        return f"{error.code}: {error}"
    if output.score is None:
        return f"not scored: {', '.join(output.abstentions)}"
    signals = output.signals
    return output.score, Measured(
        clip=str(clip.path),
        condition=condition,
        duration_s=output.duration_s or 0.0,
        speech_s=signals["speech_s"] or 0.0,
        level_dbfs=signals["level_dbfs"],
        snr_db=signals["snr_db"],
        bandwidth_hz=signals["bandwidth_hz"],
        ood_distance=signals["ood_distance"],
    )


@contextmanager
def _recording(clip: Clip, condition: str, seed: list[int]) -> Iterator[Path]:
    """The file to examine: the clip itself, or a temporary WAV of it under the condition."""
    if condition == CLEAN:
        yield clip.path
        return
    samples, _ = read_waveform(clip.path)
    degraded = ALL_CONDITIONS[condition](samples, np.random.default_rng(seed))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        write_wav(path, degraded)
        yield path


def _table(rows: Sequence[tuple[Clip, str, float]], durations_s: Sequence[float]) -> ScoreTable:
    clips = [clip for clip, _, _ in rows]

    def column(values: Iterator[str]) -> "np.ndarray[tuple[int], np.dtype[np.str_]]":
        return np.array(list(values), dtype=np.str_)

    return ScoreTable(
        clip=column(str(clip.path) for clip in clips),
        score=np.array([score for _, _, score in rows], dtype=np.float64),
        is_spoof=np.array([clip.label == Label.SPOOF for clip in clips], dtype=np.bool_),
        kind=column(clip.kind.value for clip in clips),
        system=column(clip.system for clip in clips),
        lineage=column(clip.lineage for clip in clips),
        language=column(clip.language for clip in clips),
        source_repo=column(clip.source_repo for clip in clips),
        condition=column(condition for _, condition, _ in rows),
        duration_s=np.array(durations_s, dtype=np.float64),
    )
