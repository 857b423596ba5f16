"""Fit the reference for "unlike anything trained on": `earwitness.model_spec.OodReference`.

    reference = fit_ood_reference(embedding, kind)
    limit = max_distance(distances(reference, held_out_embedding))

Lee et al., 2018, "A simple unified framework for detecting out-of-distribution samples and adversarial attacks":
one mean a class and one covariance shared by all classes. The covariance is shrunk (Ledoit & Wolf, 2004) and cut
to its strongest directions, because a few thousand clips don't fill a hundred dimensions.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from earwitness.model_spec import OodReference
from ml.evaluation.scores import EvaluationInputError, FloatArray, TextArray

DEFAULT_RANK = 32
DEFAULT_PERCENTILE = 99.0
"""Of held-out in-domain clips: one in a hundred ordinary recordings is turned away."""
MIN_CLIPS_PER_CLASS = 2  # one clip is its own mean and says nothing of how clips of its class vary
MIN_HELD_OUT_CLIPS = 100
"""A percentile of 99 needs about one clip beyond it."""
SIGNIFICANT_DIGITS = 6
"""Of the numbers in the reference: the spec is a text that people open, and distances don't need more."""


def classes_to_fit(label: TextArray) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Which of the clips are of a class that has `MIN_CLIPS_PER_CLASS` of them, and the size of each that hasn't."""
    names, class_of, count = np.unique(label, return_inverse=True, return_counts=True)
    few = count < MIN_CLIPS_PER_CLASS
    return ~few[class_of], {str(name): int(n) for name, n in zip(names[few], count[few], strict=True)}


def fit_ood_reference(
    embedding: NDArray[np.floating],
    label: TextArray,
    *,
    rank: int = DEFAULT_RANK,
    shrinkage: float | None = None,
) -> OodReference:
    """Class means and shared whitening from training embeddings (n, dim) and their class names (n,).

    `shrinkage` in [0, 1] moves the covariance towards a ball of equal variance; None estimates how far.
    """
    values = np.asarray(embedding, dtype=np.float64)
    _check_embedding(values)
    if len(label) != len(values):
        raise EvaluationInputError(f"{len(values)} embeddings, but {len(label)} labels")
    n, dim = values.shape
    if not 1 <= rank <= dim:
        raise EvaluationInputError(f"rank must lie in 1..{dim} (the embedding's size), not {rank}")
    if shrinkage is not None and not 0.0 <= shrinkage <= 1.0:
        raise EvaluationInputError(f"shrinkage must lie in [0, 1], not {shrinkage}")
    names, class_of, count = np.unique(label, return_inverse=True, return_counts=True)
    if count.min() < MIN_CLIPS_PER_CLASS:
        raise EvaluationInputError(
            f"class {str(names[count.argmin()])!r} has only {count.min()} clip: drop or merge it"
        )
    means = np.stack([values[class_of == c].mean(axis=0) for c in range(len(names))])
    within = values - means[class_of]
    if shrinkage is None:
        covariance, _ = ledoit_wolf(within, assume_centered=True)
    else:
        sample = within.T @ within / n
        covariance = (1 - shrinkage) * sample + shrinkage * np.trace(sample) / dim * np.eye(dim)
    variance, direction = np.linalg.eigh(covariance)
    variance, direction = variance[::-1][:rank], direction[:, ::-1][:, :rank]
    if variance[-1] <= variance[0] * dim * np.finfo(np.float64).eps:
        raise EvaluationInputError(f"the embeddings vary in fewer than {rank} directions: lower the rank")
    components = (direction / np.sqrt(variance)).T
    return OodReference(means=_as_rows(means), components=_as_rows(components))


def distances(reference: OodReference, embedding: NDArray[np.floating]) -> FloatArray:
    """`OodReference.distance` of each of (n, dim) embeddings: (n,)."""
    values = np.asarray(embedding, dtype=np.float64)
    _check_embedding(values)
    components = np.asarray(reference.components)
    nearest = np.full(len(values), np.inf)
    for mean in np.asarray(reference.means):
        squared = (((values - mean) @ components.T) ** 2).sum(axis=1)
        nearest = np.minimum(nearest, squared)
    return np.sqrt(nearest / len(components))


def max_distance(held_out: FloatArray, percentile: float = DEFAULT_PERCENTILE) -> float:
    """The distance within which `percentile` per cent of in-domain clips lie that the reference never saw.

    `held_out` are their distances. Of fewer than `MIN_HELD_OUT_CLIPS` the greatest is taken: they can't show what is
    rarer than themselves.
    """
    if not 0.0 < percentile < 100.0:
        raise EvaluationInputError(f"percentile must lie between 0 and 100, not {percentile}")
    if len(held_out) == 0:
        raise EvaluationInputError("no held-out clip could be embedded: look at the suitability limits")
    return float(held_out.max() if len(held_out) < MIN_HELD_OUT_CLIPS else np.percentile(held_out, percentile))


def _check_embedding(values: FloatArray) -> None:
    if values.ndim != 2 or len(values) == 0:
        raise EvaluationInputError(f"embeddings must have the shape (n, dim), not {values.shape}")
    if not np.isfinite(values).all():
        raise EvaluationInputError("an embedding is not finite: mend the network")


def _as_rows(matrix: FloatArray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(f"{value:.{SIGNIFICANT_DIGITS}g}") for value in row) for row in matrix)
