"""Scores that are made once: a table a condition, read back by whoever asks for the same again.

    scored = scored_split(graph, clips, Path("runs/a/evaluation"), "dev", ScoringOptions(["clean", "opus_16k"]))

Each condition's table is written as soon as it is done, under a name that holds a hash of the graph, the clips and
the seed. A scoring that was stopped goes on with the condition that it was at; a new calibration reads everything
back; a new graph, other clips or another seed read nothing back.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from earwitness.model_spec import load_spec
from ml.datasets.manifest import Clip
from ml.evaluation.score_clips import Scored, check_conditions, read_scored, score_clips, write_scored
from ml.evaluation.scores import CLEAN, joined

SCORING_VERSION = 1
"""Raised when a condition or the way from a file to its score changes: older tables are then not read back."""


@dataclass(frozen=True, slots=True)
class ScoringOptions:
    conditions: Sequence[str] = (CLEAN,)
    jobs: int = 2
    """Processes."""
    seed: int = 1
    """Of what a condition draws at random, and of the confidence intervals."""
    quiet: bool = False
    fresh: bool = False
    """Score anew where tables exist."""


def scored_split(graph: Path, clips: Sequence[Clip], folder: Path, name: str, options: ScoringOptions) -> Scored:
    """The scores of `clips` under every condition, in the order of the conditions.

    Raises EvaluationInputError for an unknown condition before anything is scored, and where nothing could be.
    """
    check_conditions(options.conditions)
    key = scoring_key(graph, clips, options.seed)
    parts = []
    for condition in options.conditions:
        stem = folder / f"{name}-{condition.replace('.', '_')}-{key}"
        if options.fresh:
            stem.with_suffix(".csv").unlink(missing_ok=True)
        if not stem.with_suffix(".csv").exists():
            write_scored(
                stem,
                score_clips(graph, clips, [condition], jobs=options.jobs, seed=options.seed, quiet=options.quiet),
            )
        parts.append(read_scored(stem))
    return Scored(
        table=joined([part.table for part in parts]),
        measured=tuple(row for part in parts for row in part.measured),
        failed=tuple(line for part in parts for line in part.failed),
    )


def scoring_key(graph: Path, clips: Sequence[Clip], seed: int) -> str:
    """16 hex digits that stand for the graph's bytes, the clips' rows and files, and the seed."""
    files = [clip.path.stat() if clip.path.exists() else None for clip in clips]
    what = (
        SCORING_VERSION,
        load_spec(graph).graph_sha256,
        seed,
        [astuple(clip) for clip in clips],
        [(file.st_size, file.st_mtime_ns) if file else None for file in files],
    )
    return hashlib.sha256(repr(what).encode()).hexdigest()[:16]
