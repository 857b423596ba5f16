"""Place: do the frame scores of an exported graph find the synthetic stretches of spliced recordings?

    figures = segment_figures(graph, clips, Path("runs/a/evaluation"), "dev", count=200, options=ScoringOptions())
    figures.eer, figures.frames

A figure over frames (160 ms each with the shipped networks), as in Zhang et al., 2021, "An initial investigation
for detecting partially spoofed audio". What is spliced into what is planned in `splices`.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from tqdm import tqdm

from earwitness.canonical import canonicalise
from earwitness.errors import InputError
from earwitness.model_spec import load_spec
from ml.datasets.manifest import Clip
from ml.evaluation.atomic_write import write_text
from ml.evaluation.metrics import equal_error_rate
from ml.evaluation.scored_split import ScoringOptions, scoring_key
from ml.evaluation.scores import EvaluationInputError
from ml.evaluation.splices import SplicePlan, make_splice, plan_splices
from ml.evaluation.worker import load, scorer
from ml.processes import spread


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of one spliced recording: a row of the table that is kept."""

    clip: str
    donor_kind: str
    index: int
    score: float
    """Raw logit; higher = more likely spoof (with frames of their own: than the rest of the window)."""
    is_spoof: int


@dataclass(frozen=True, slots=True)
class SegmentPart:
    name: str
    eer: float
    recordings: int
    frames: int
    spoof_frames: int


@dataclass(frozen=True, slots=True)
class SegmentFigures:
    frame_s: float
    pooled: SegmentPart
    by_donor: tuple[SegmentPart, ...]
    failed: tuple[str, ...]
    """A line for each recording that could not be spliced."""

    @property
    def text(self) -> str:
        """One line for a person."""
        parts = ", ".join(f"{100 * part.eer:.1f} % with a {part.name}" for part in self.by_donor)
        return (
            f"Place: segment EER {100 * self.pooled.eer:.1f} % at {1000 * self.frame_s:.0f} ms on "
            f"{self.pooled.recordings} spliced recordings ({self.pooled.spoof_frames} of {self.pooled.frames} frames "
            f"synthetic); {parts}"
        )


def segment_figures(
    graph: Path, clips: Sequence[Clip], folder: Path, name: str, *, count: int, options: ScoringOptions
) -> SegmentFigures:
    """Splice, score and judge; frames are kept in `folder` and read back for the same graph, clips, seed and count.

    Recordings are cut to one window of the model: the frames of overlapping windows don't lie on one grid. Raises
    EvaluationInputError where nothing could be spliced.
    """
    path = folder / f"{name}-splices-{count}-{scoring_key(graph, clips, options.seed)}.csv"
    failed: list[str] = []
    if path.exists() and not options.fresh:
        frames = _read(path)
    else:
        frames, failed = _score(graph, plan_splices(clips, count, options.seed), options)
        if not failed:
            _write(path, frames)
    if len({frame.is_spoof for frame in frames}) < 2:
        raise EvaluationInputError(f"none of {count} recordings could be spliced; the first said: {failed[:1]}")
    kinds = sorted({frame.donor_kind for frame in frames})
    return SegmentFigures(
        frame_s=load_spec(graph).frame_hop_s,
        pooled=_part("all", frames),
        by_donor=tuple(_part(kind, [f for f in frames if f.donor_kind == kind]) for kind in kinds),
        failed=tuple(failed),
    )


def _score(graph: Path, plans: Sequence[SplicePlan], options: ScoringOptions) -> tuple[list[Frame], list[str]]:
    """The frames of all that could be spliced, and a line for each other."""
    frames, failed = [], []
    answers = spread(_score_one, plans, jobs=options.jobs, initializer=load, initargs=(graph,), chunksize=4)
    bar = tqdm(answers, total=len(plans), unit="clip", desc="splices", disable=options.quiet, mininterval=2.0)
    for plan, answer in zip(plans, bar, strict=True):
        if isinstance(answer, str):
            failed.append(f"{plan.human.path} (spliced): {answer}")
        else:
            frames += answer
    return frames, failed


def _part(name: str, frames: Sequence[Frame]) -> SegmentPart:
    is_spoof = np.array([frame.is_spoof == 1 for frame in frames])
    score = np.array([frame.score for frame in frames], dtype=np.float64)
    return SegmentPart(
        name=name,
        eer=equal_error_rate(score, is_spoof)[0],
        recordings=len({frame.clip for frame in frames}),
        frames=len(frames),
        spoof_frames=int(is_spoof.sum()),
    )


def _score_one(plan: SplicePlan) -> list[Frame] | str:
    spec = scorer().spec
    try:
        mixed, labels = make_splice(plan, spec.frame_hop_s, spec.window.window_s)
    except (InputError, EvaluationInputError) as error:
        return str(error)
    scores = scorer().score(canonicalise(mixed).samples[np.newaxis]).frame_scores[0]
    return [
        Frame(str(plan.human.path), plan.donor_kind, index, float(score), int(label))
        for index, (score, label) in enumerate(zip(scores, labels, strict=False))  # a last part frame may lack one
    ]


def _write(path: Path, frames: Sequence[Frame]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Frame)])
    writer.writerows(astuple(frame) for frame in frames)
    write_text(path, text.getvalue())


def _read(path: Path) -> list[Frame]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                Frame(row["clip"], row["donor_kind"], int(row["index"]), float(row["score"]), int(row["is_spoof"]))
                for row in csv.DictReader(file)
            ]
    except (KeyError, TypeError, ValueError) as error:
        raise EvaluationInputError(f"{path} can't be used ({error}): score anew (--fresh)") from error
