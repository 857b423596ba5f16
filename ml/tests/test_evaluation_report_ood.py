"""The reference for what training data looks like."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ml.evaluation.ood import distances, fit_ood_reference, max_distance
from ml.evaluation.scores import EvaluationInputError

DIM = 12


def embeddings(seed: int, n: int = 2000) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Two classes with one covariance, far from round."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(DIM, DIM))
    label = np.where(np.arange(n) % 2 == 0, "human", "tts")
    centre = np.where(label == "tts", 15.0, -15.0)[:, None]
    return centre + rng.normal(size=(n, DIM)) @ mixing, label


def test_training_data_lies_about_one_away() -> None:
    values, label = embeddings(0)
    reference = fit_ood_reference(values, label, rank=DIM, shrinkage=0.0)
    assert np.mean(distances(reference, values) ** 2) == pytest.approx(1.0, rel=0.01)


def test_without_shrinkage_and_cut_it_is_the_mahalanobis_distance() -> None:
    values, label = embeddings(1)
    reference = fit_ood_reference(values, label, rank=DIM, shrinkage=0.0)
    means = {name: values[label == name].mean(axis=0) for name in ("human", "tts")}
    within = values - np.stack([means[str(name)] for name in label])
    inverse = np.linalg.inv(within.T @ within / len(values))
    point = np.random.default_rng(5).normal(size=DIM) * 20
    expected = min(float((point - m) @ inverse @ (point - m)) for m in means.values())
    assert distances(reference, point[None])[0] == pytest.approx(np.sqrt(expected / DIM), rel=1e-3)


def test_the_column_agrees_with_the_librarys_own_distance() -> None:
    values, label = embeddings(2)
    reference = fit_ood_reference(values, label, rank=5)
    column = distances(reference, values[:20])
    assert column.tolist() == pytest.approx(
        [reference.distance(v.astype(np.float32)) for v in values[:20]], rel=1e-4
    )


def test_the_limit_turns_away_the_stated_share_and_what_lies_far_off() -> None:
    values, label = embeddings(3)
    reference = fit_ood_reference(values, label, rank=8)
    limit = max_distance(distances(reference, embeddings(4)[0]), percentile=99.0)
    fresh = distances(reference, embeddings(5)[0])
    assert np.mean(fresh > limit) == pytest.approx(0.01, abs=0.008)
    strange = np.random.default_rng(6).normal(size=(100, DIM)) * 60
    assert np.mean(distances(reference, strange) > limit) > 0.95


def test_the_reference_has_the_classes_the_rank_and_few_digits() -> None:
    values, label = embeddings(7)
    reference = fit_ood_reference(values, label, rank=4)
    assert np.asarray(reference.means).shape == (2, DIM)
    assert np.asarray(reference.components).shape == (4, DIM)
    assert all(len(repr(x).lstrip("-").replace(".", "").lstrip("0")) <= 10 for x in reference.means[0])


def test_shrinkage_keeps_few_clips_in_many_dimensions_apart() -> None:
    rng = np.random.default_rng(8)
    values, label = rng.normal(size=(20, 64)), np.array(["a", "b"] * 10)
    reference = fit_ood_reference(values, label, rank=32)
    assert np.isfinite(distances(reference, rng.normal(size=(50, 64)))).all()
    with pytest.raises(EvaluationInputError, match="lower the rank"):
        fit_ood_reference(values, label, rank=32, shrinkage=0.0)


@pytest.mark.parametrize(
    ("values", "label", "options", "message"),
    [
        (np.zeros((0, 3)), [], {}, "shape"),
        (np.zeros(4), ["a"] * 4, {}, "shape"),
        (np.full((4, 3), np.nan), ["a"] * 4, {}, "finite"),
        (np.eye(4), ["a"] * 3, {}, "labels"),
        (np.eye(4), ["a", "a", "a", "b"], {"rank": 2}, "'b' has only 1"),
        (np.eye(4), ["a"] * 4, {"rank": 5}, "rank"),
        (np.eye(4), ["a"] * 4, {"rank": 0}, "rank"),
        (np.eye(4), ["a"] * 4, {"rank": 2, "shrinkage": 1.5}, "shrinkage"),
    ],
)
def test_unusable_embeddings_are_clear_errors(
    values: NDArray[np.float64], label: list[str], options: dict[str, int], message: str
) -> None:
    with pytest.raises(EvaluationInputError, match=message):
        fit_ood_reference(values, np.array(label, dtype=np.str_), **options)


def test_of_few_held_out_clips_the_farthest_is_the_limit() -> None:
    assert max_distance(np.array([1.0, 3.0, 2.0])) == 3.0
    assert max_distance(np.arange(101.0)) == pytest.approx(99.0)


def test_no_held_out_clips_and_senseless_percentiles_are_refused() -> None:
    with pytest.raises(EvaluationInputError, match="held-out"):
        max_distance(np.array([]))
    with pytest.raises(EvaluationInputError, match="percentile"):
        max_distance(np.ones(200), percentile=100.0)
