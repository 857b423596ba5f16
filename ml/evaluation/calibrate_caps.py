"""How strong a likelihood ratio the calibration set can support: empirical lower and upper bounds (ELUB).

    llr_min, llr_max = llr_bounds(llr, table.is_spoof)

Vergeer, van Es, de Jongh, Alberink & Stoel, 2016, "Numerical likelihood ratios outputted by LR systems are often
based on extrapolation: when to stop extrapolating?", Science & Justice 56(6). A fitted line runs on for ever: a
score far out gets an llr of 20 although no 400 million recordings were ever heard. Their question instead: for
which decision thresholds does using the llr still cost less than not listening at all, had there been one more
misleading recording of each class? Beyond the first threshold where it does not, the llr is capped. With n clean
recordings of the other class a cap can't exceed about ln(n + 1); errors among them lower it.
"""

import numpy as np

from ml.evaluation.metrics import check_two_classes
from ml.evaluation.scores import BoolArray, EvaluationInputError, FloatArray


def llr_bounds(llr: FloatArray, is_spoof: BoolArray) -> tuple[float, float]:
    """(llr_min, llr_max), natural log, llr_min < 0 < llr_max, from llrs that were not fitted on these clips.

    Raises EvaluationInputError where even a weak claim is not supported on one side.
    """
    check_two_classes(llr, is_spoof)
    upper = _upper_bound(llr[is_spoof], llr[~is_spoof])
    lower = -_upper_bound(-llr[~is_spoof], -llr[is_spoof])
    if lower >= 0.0 or upper <= 0.0:
        side = "spoof" if upper <= 0.0 else "bona fide"
        raise EvaluationInputError(
            f"the calibration set supports no claim for {side}: it needs more clips, or a better detector"
        )
    return lower, upper


def _upper_bound(supporting: FloatArray, misleading: FloatArray) -> float:
    """The first threshold >= 0 above which the ratio of hits to false alarms falls below the threshold itself.

    At the Bayes threshold u the prior odds are e^-u, so not listening costs the prior of the rarer proposition,
    and listening costs less exactly while hits / false alarms >= e^u.
    """
    steps = np.unique(np.concatenate((supporting, misleading)))
    steps = steps[steps > 0.0]
    # Between two llrs no decision changes: row i holds for thresholds in (steps[i - 1], steps[i]].
    hits = _count_from(supporting, steps) / (len(supporting) + 1)
    false_alarms = (_count_from(misleading, steps) + 1.0) / (len(misleading) + 1)
    with np.errstate(divide="ignore"):  # no hit at all supports nothing: -inf
        supported = np.log(hits / false_alarms)
    broken = np.flatnonzero(supported < steps)
    if len(broken) == 0:
        return float(steps[-1]) if len(steps) else 0.0
    first = int(broken[0])
    start = float(steps[first - 1]) if first else 0.0
    return max(start, float(supported[first]))


def _count_from(values: FloatArray, thresholds: FloatArray) -> FloatArray:
    """How many of `values` reach each threshold."""
    return (len(values) - np.searchsorted(np.sort(values), thresholds, side="left")).astype(np.float64)
