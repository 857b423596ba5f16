"""`python -m ml.evaluation.stretches`: do the stretches that a report marks lie where synthesis was set in?

    python -m ml.evaluation.stretches --manifest runs/manifests/earcorpus.csv --split dev

The segment EER (`segments`) judges the graph's frame scores, in recordings that are known to hold a synthetic stretch.
A report knows no such thing: its stretches depend on the score of the whole, the calibration, the thresholds and what
is speech. This command examines spliced recordings (`splices`) and the human recordings of the split as the service
does, and prints two sentences for docs/model-card.md.
Exit codes: 0 done, 2 the model or the clips can't be used.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import InputError, ModelError
from earwitness.grounds import SuspiciousStretch
from earwitness.model_spec import default_model_path
from earwitness.pipeline import examine
from earwitness.scorer import load_scorer
from earwitness.timeline import FRAME_S
from ml.datasets.errors import DatasetError
from ml.datasets.manifest import Clip, read_manifest
from ml.evaluation.scores import EvaluationInputError
from ml.evaluation.splices import SplicePlan, make_splice, plan_splices
from ml.evaluation.worker import load, scorer
from ml.processes import spread
from ml.wav import write_wav

COUNT, SEED, JOBS = 200, 1, 2


@dataclass(frozen=True, slots=True)
class Marked:
    """Of one recording, a flag a frame of 160 ms."""

    marked: NDArray[np.bool_]
    synthetic: NDArray[np.bool_]

    @property
    def touches(self) -> bool:
        return bool((self.marked & self.synthetic).any())


def frames_of(stretches: Sequence[SuspiciousStretch], count: int) -> NDArray[np.bool_]:
    """Which of `count` frames lie in a stretch, by their middle."""
    middles = (np.arange(count) + 0.5) * FRAME_S
    inside = np.zeros(count, dtype=np.bool_)
    for stretch in stretches:
        inside |= (middles >= stretch.start_s) & (middles < stretch.end_s)
    return inside


def told(spliced: Sequence[Marked], human: Sequence[bool]) -> str:
    """The two sentences: `human` says of each human recording whether it has a marked stretch."""
    marked = np.concatenate([one.marked for one in spliced])
    synthetic = np.concatenate([one.synthetic for one in spliced])
    touched = np.mean([one.touches for one in spliced])
    return (
        f"Stretches: of {len(spliced)} spliced recordings {touched:.0%} have one that touches what was set in; "
        f"marked are {marked[synthetic].mean():.0%} of the synthetic frames and {marked[~synthetic].mean():.0%} of the "
        f"human ones. Of {len(human)} human recordings {np.mean(human):.1%} have one."
    )


def _stretches(path: Path) -> tuple[SuspiciousStretch, ...]:
    grounds = examine(path, scorer()).grounds  # of a recording that the detector abstains on, none is marked
    return () if grounds is None else grounds.stretches


def _examine_splice(plan: SplicePlan) -> Marked | str:
    try:
        mixed, labels = make_splice(plan, FRAME_S, scorer().spec.window.window_s)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "spliced.wav"
            write_wav(path, mixed)
            return Marked(frames_of(_stretches(path), labels.size), labels == 1)
    except (InputError, EvaluationInputError) as error:
        return f"{plan.human.path} (spliced): {error}"


def _examine_human(clip: Clip) -> bool | str:
    try:
        return bool(_stretches(clip.path))
    except InputError as error:
        return f"{clip.path}: {error}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ml.evaluation.stretches",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--model", type=Path, default=default_model_path())
    parser.add_argument("--count", type=int, default=COUNT, help="spliced recordings")
    parser.add_argument("--seed", type=int, default=SEED, help="of what is spliced into what")
    parser.add_argument("--jobs", type=int, default=JOBS, help="processes")
    options = parser.parse_args(arguments)
    if options.count < 1 or options.jobs < 1:
        parser.error("--count and --jobs must be 1 or more")
    try:
        version = load_scorer(options.model).spec.model_version  # before processes are started that could not
        clips = [clip for clip in read_manifest(options.manifest) if clip.split == options.split]
        plans = plan_splices(clips, options.count, options.seed)
        start = {"jobs": options.jobs, "initializer": load, "initargs": (options.model,), "chunksize": 4}
        spliced = list(spread(_examine_splice, plans, **start))
        human = list(spread(_examine_human, [clip for clip in clips if not clip.is_spoof], **start))
        failed = [answer for answer in (*spliced, *human) if isinstance(answer, str)]
        for line in failed:
            print(f"left out: {line}", file=sys.stderr)
        found = [one for one in spliced if isinstance(one, Marked)]
        heard = [one for one in human if isinstance(one, bool)]
        if not found or not heard:
            raise EvaluationInputError("no spliced or no human recording of this split could be examined")
    except (DatasetError, EvaluationInputError, ModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{version}; {options.manifest.name}, {options.split}, seed {options.seed}")
    print(told(found, heard))
    return 0


if __name__ == "__main__":
    sys.exit(main())
