"""Figures of calibration: whether a probability or a likelihood ratio means what it says.

    ece = expected_calibration_error(p_fake, table.is_spoof)
    loss = cllr(llr, table.is_spoof) - min_cllr(llr, table.is_spoof)      # Cllr_cal

`p_fake` is stated at a prior of 0.5, but no table holds just as much spoof as bona fide. So the figures on
probabilities weigh the classes to the stated prior (`prior=None` takes the table as it is): otherwise a perfectly
calibrated detector would be blamed for the mixture of the test set. Cllr and its kin need no prior.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.isotonic import IsotonicRegression

from ml.evaluation.metrics import check_two_classes
from ml.evaluation.scores import BoolArray, EvaluationInputError, FloatArray

PRIOR_SPOOF = 0.5
"""At which p_fake is stated, as in `earwitness.calibration.DEFAULT_PRIOR`."""

DEFAULT_BINS = 10
"""Fifteen (Guo et al., 2017) leave a table of 1,000 clips some 70 a bin: noise alone then makes an ECE of 0.02."""

Binning = Literal["equal_mass", "equal_width"]


@dataclass(frozen=True, slots=True)
class Reliability:
    """Bins of p_fake, empty ones left out; columns of one length."""

    mean_p_fake: FloatArray
    share_spoof: FloatArray
    """Observed share of spoof in the bin, after weighting"""
    weight: FloatArray
    """Share of all weight in the bin; sums to 1"""
    count: FloatArray
    """Clips in the bin"""


def class_weights(is_spoof: BoolArray, prior: float | None = PRIOR_SPOOF) -> FloatArray:
    """Weight of each clip, summing to 1, such that spoof weighs `prior` in all; None weighs all clips alike."""
    n_spoof = int(is_spoof.sum())
    if prior is None:
        return np.full(len(is_spoof), 1.0 / len(is_spoof))
    if not 0.0 < prior < 1.0:
        raise EvaluationInputError(f"a prior must lie between 0 and 1, both excluded, not {prior}")
    return np.where(is_spoof, prior / n_spoof, (1.0 - prior) / (len(is_spoof) - n_spoof))


def reliability(
    p_fake: FloatArray,
    is_spoof: BoolArray,
    *,
    bins: int = DEFAULT_BINS,
    binning: Binning = "equal_mass",
    prior: float | None = PRIOR_SPOOF,
) -> Reliability:
    """What was said and what was so, bin by bin. Equal probabilities always share a bin."""
    _check_probabilities(p_fake, is_spoof)
    if bins < 1:
        raise EvaluationInputError(f"needs at least one bin, not {bins}")
    weight = class_weights(is_spoof, prior)
    if binning == "equal_width":
        bin_of = np.minimum((p_fake * bins).astype(np.int_), bins - 1)
    else:
        values, group = np.unique(p_fake, return_inverse=True)
        mass = np.bincount(group, weights=weight, minlength=len(values))
        middle = np.cumsum(mass) - mass / 2
        bin_of = np.minimum((middle * bins).astype(np.int_), bins - 1)[group]

    def sums(values: FloatArray) -> FloatArray:
        return np.bincount(bin_of, weights=values, minlength=bins).astype(np.float64)

    total, count = sums(weight), sums(np.ones(len(p_fake)))
    filled = count > 0
    return Reliability(
        mean_p_fake=sums(weight * p_fake)[filled] / total[filled],
        share_spoof=sums(weight * is_spoof)[filled] / total[filled],
        weight=total[filled],
        count=count[filled],
    )


def expected_calibration_error(
    p_fake: FloatArray,
    is_spoof: BoolArray,
    *,
    bins: int = DEFAULT_BINS,
    binning: Binning = "equal_mass",
    prior: float | None = PRIOR_SPOOF,
) -> float:
    """Mean distance between stated probability and observed share over bins, in [0, 1].

    Naeini et al., 2015, "Obtaining well calibrated probabilities using Bayesian binning" (equal width);
    Nguyen & O'Connor, 2015, "Posterior calibration and exploratory analysis" (equal mass). Never below the
    noise of its bins: about 0.02 for a perfect detector on 500 clips of each class.
    """
    found = reliability(p_fake, is_spoof, bins=bins, binning=binning, prior=prior)
    return float(np.sum(found.weight * np.abs(found.mean_p_fake - found.share_spoof)))


def brier(p_fake: FloatArray, is_spoof: BoolArray, *, prior: float | None = PRIOR_SPOOF) -> float:
    """Mean squared error of the probability, in [0, 1]; 0.25 for always saying 0.5 (Brier, 1950)."""
    _check_probabilities(p_fake, is_spoof)
    return float(np.sum(class_weights(is_spoof, prior) * (p_fake - is_spoof) ** 2))


def negative_log_likelihood(
    llr: FloatArray, is_spoof: BoolArray, *, prior: float = PRIOR_SPOOF, balanced: bool = True
) -> float:
    """Mean of -ln(probability given to what was so), probabilities made from `llr` at `prior`; 0.693 for knowing
    nothing. Taken from the log ratio, so that certainty does not round to an infinite loss.
    """
    check_two_classes(llr, is_spoof)
    weight = class_weights(is_spoof, prior if balanced else None)
    log_odds = llr + np.log(prior) - np.log1p(-prior)
    return float(np.sum(weight * np.where(is_spoof, np.logaddexp(0.0, -log_odds), np.logaddexp(0.0, log_odds))))


def cllr(llr: FloatArray, is_spoof: BoolArray) -> float:
    """Cost of the log-likelihood ratio in bits: 0 perfect, 1 says nothing, above 1 misleads.

    Brummer & du Preez, 2006, "Application-independent evaluation of speaker detection".
    """
    return negative_log_likelihood(llr, is_spoof) / float(np.log(2.0))


def optimal_probabilities(score: FloatArray, is_spoof: BoolArray) -> FloatArray:
    """Probability of spoof at a prior of 0.5 that fits this very table best among all rising maps of the score
    (pool adjacent violators). Knows the answers: for judging, never for deciding.
    """
    check_two_classes(score, is_spoof)
    # Ranks, since only the order counts and the library's solver thins out values that are nearly equal.
    rank = np.unique(score, return_inverse=True)[1].astype(np.float64)
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit_transform(
        rank, is_spoof.astype(np.float64), sample_weight=class_weights(is_spoof)
    )
    return np.asarray(fitted, dtype=np.float64)


def min_cllr(score: FloatArray, is_spoof: BoolArray) -> float:
    """Cllr after the best possible calibration of this table: what the discrimination alone costs, in [0, 1].

    Brummer & du Preez, 2006; pool adjacent violators as in "The PAV algorithm optimizes binary proper scoring
    rules" (Brummer & du Preez, 2009).
    """
    p = optimal_probabilities(score, is_spoof)
    # A block of one class alone has the probability 0 or 1, and every clip in it is of that class: a loss of 0.
    return float(0.5 * (-np.log2(p[is_spoof]).mean() - np.log2(1.0 - p[~is_spoof]).mean()))


def cllr_cal(llr: FloatArray, is_spoof: BoolArray) -> float:
    """Cllr - minCllr: what bad calibration alone costs, in bits."""
    return cllr(llr, is_spoof) - min_cllr(llr, is_spoof)


def _check_probabilities(p_fake: FloatArray, is_spoof: BoolArray) -> None:
    check_two_classes(p_fake, is_spoof)
    if p_fake.min() < 0.0 or p_fake.max() > 1.0:
        raise EvaluationInputError("p_fake must lie in [0, 1]: calibrate the scores first")
