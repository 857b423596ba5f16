import numpy as np
import pytest

from earwitness.finding import Stretch, WindowScore
from earwitness.tally import Tally


def tallied(*windows: tuple[float, float]) -> Tally:
    """Windows as (score, speech share), 4 s long, every 2 s; the embedding is (score, 1)."""
    tally = Tally()
    for index, (score, share) in enumerate(windows):
        p_fake = 1 / (1 + np.exp(-score))
        window = WindowScore(index * 2.0, index * 2.0 + 4.0, score, score, float(p_fake), share)
        tally.add(window, np.array([score, 1.0], np.float32))
    return tally


@pytest.mark.parametrize(
    ("windows", "score"),
    [
        ((), None),
        (((3.0, 1.0),), 3.0),
        (((1.0, 1.0), (3.0, 1.0)), 2.0),
        (((1.0, 0.75), (3.0, 0.25)), 1.5),
        (((1.0, 1.0), (99.0, 0.0)), 1.0),
        (((1.0, 0.0), (3.0, 0.0)), 2.0),
    ],
    ids=["nothing", "one", "equal", "weighted", "silence-counts-nothing", "all-silent"],
)
def test_the_score_is_the_mean_weighted_by_speech(
    windows: tuple[tuple[float, float], ...], score: float | None
) -> None:
    assert tallied(*windows).score() == score


def test_the_embedding_is_weighted_alike() -> None:
    embedding = tallied((1.0, 0.75), (3.0, 0.25), (50.0, 0.0)).embedding()
    assert embedding is not None
    np.testing.assert_allclose(embedding, [1.5, 1.0])


@pytest.mark.parametrize("windows", [(), ((1.0, 0.0),)])
def test_without_speech_there_is_no_embedding_and_no_stretch(windows: tuple[tuple[float, float], ...]) -> None:
    assert tallied(*windows).embedding() is None
    assert tallied(*windows).most_suspicious() is None


def test_the_most_suspicious_stretch_needs_a_fair_amount_of_speech() -> None:
    stretch = tallied((0.0, 1.0), (1.0, 0.5), (9.0, 0.05)).most_suspicious()
    assert stretch is not None
    assert (stretch.start_s, stretch.end_s) == (2.0, 6.0)


def test_where_there_is_little_speech_that_little_is_pointed_at() -> None:
    assert tallied((0.0, 0.0), (0.0, 0.1)).most_suspicious() == Stretch(2.0, 6.0, 0.5)
