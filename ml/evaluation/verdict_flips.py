"""How verdicts change when a recording is changed and its speech is not.

    for flips in verdict_flips(table, llr, thresholds, abstained):
        print(flips.condition, flips.changed, flips.reversed)

Human speech must stay human and synthetic speech synthetic whatever happened to the file: a detector that turns
round because silence was trimmed or the level changed has heard the recording chain.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.policy import Thresholds
from ml.evaluation.calibrate_folds import probability
from ml.evaluation.scores import CLEAN, BoolArray, FloatArray, ScoreTable

DEEPFAKE, SUSPICIOUS, AUTHENTIC = 1, 0, -1


@dataclass(frozen=True, slots=True)
class Flips:
    """Of the clips that were scored both clean and under the condition; shares in [0, 1]."""

    condition: str
    clips: int
    changed: float
    """Another verdict than on the clean recording, SUSPICIOUS included."""
    reversed: float
    """AUTHENTIC became DEEPFAKE, or the reverse."""
    bonafide_to_deepfake: float
    """Of the bona fide clips: not DEEPFAKE clean, DEEPFAKE now."""
    spoof_to_authentic: float
    """Of the spoof clips: not AUTHENTIC clean, AUTHENTIC now."""


def verdict_flips(
    table: ScoreTable, llr: FloatArray, thresholds: Thresholds, abstained: BoolArray
) -> tuple[Flips, ...]:
    """One entry for each condition but `clean`, in alphabetical order; empty where nothing else was scored."""
    p_fake = probability(llr)
    verdict = np.where(
        p_fake >= thresholds.t_high, DEEPFAKE, np.where(p_fake <= thresholds.t_low, AUTHENTIC, SUSPICIOUS)
    )
    verdict[abstained] = SUSPICIOUS
    before = {str(table.clip[i]): int(verdict[i]) for i in np.flatnonzero(table.condition == CLEAN)}
    found = []
    for condition in np.unique(table.condition[table.condition != CLEAN]):
        rows = np.array(
            [i for i in np.flatnonzero(table.condition == condition) if table.clip[i] in before], dtype=int
        )
        if rows.size:
            clean = np.array([before[str(table.clip[i])] for i in rows])
            found.append(_flips(str(condition), clean, verdict[rows], table.is_spoof[rows]))
    return tuple(found)


def _flips(condition: str, clean: NDArray[np.int_], now: NDArray[np.int_], is_spoof: BoolArray) -> Flips:
    return Flips(
        condition=condition,
        clips=len(now),
        changed=float(np.mean(clean != now)),
        reversed=float(np.mean(clean * now == AUTHENTIC * DEEPFAKE)),
        bonafide_to_deepfake=_share(((clean != DEEPFAKE) & (now == DEEPFAKE))[~is_spoof]),
        spoof_to_authentic=_share(((clean != AUTHENTIC) & (now == AUTHENTIC))[is_spoof]),
    )


def _share(which: BoolArray) -> float:
    return float(which.mean()) if which.size else 0.0
