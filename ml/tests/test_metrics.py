"""Discrimination figures against hand-worked examples and against computations that share no code with ours."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.evaluation.metrics import (
    Confusion,
    DetectionCost,
    actual_dcf,
    confusion_at,
    eer_by_kind,
    equal_error_rate,
    error_curve,
    min_dcf,
    roc_auc,
)
from ml.evaluation.scores import BoolArray, EvaluationInputError, FloatArray
from ml.tests.score_tables import UNTIMED, gaussian_scores

FOUR_DIGITS = 0.5e-4


def both_classes(low: int = -40, high: int = 40) -> st.SearchStrategy[tuple[FloatArray, BoolArray]]:
    """Whole-number scores, so that ties are common and a rising map can't merge two of them by rounding."""
    side = st.lists(st.integers(low, high), min_size=1, max_size=40)
    return st.tuples(side, side).map(
        lambda sides: (
            np.array(sides[0] + sides[1], dtype=np.float64),
            np.array([True] * len(sides[0]) + [False] * len(sides[1])),
        )
    )


RISING_MAPS: list[Callable[[FloatArray], FloatArray]] = [
    lambda x: 3.0 * x - 7.0,
    lambda x: x**3 + x,
    lambda x: np.exp(x / 8.0),
    np.arctan,
]


def asvspoof_points(score: FloatArray, is_spoof: BoolArray) -> list[tuple[float, float]]:
    """(frr, far) as the ASVspoof scripts mean them, by counting in plain Python: scores turned round, bona fide is
    the target, rejected at or below each threshold, from the lowest threshold up."""
    turned = [-s for s in score.tolist()]
    target = [s for s, spoof in zip(turned, is_spoof.tolist(), strict=True) if not spoof]
    attack = [s for s, spoof in zip(turned, is_spoof.tolist(), strict=True) if spoof]
    points = [(0.0, 1.0)]
    for threshold in sorted(set(turned)):
        frr = sum(s <= threshold for s in target) / len(target)
        far = sum(s > threshold for s in attack) / len(attack)
        points.append((frr, far))
    return points


def brute_force_eer(score: FloatArray, is_spoof: BoolArray) -> float:
    best = (math.inf, math.nan)
    for frr, far in asvspoof_points(score, is_spoof):
        if abs(frr - far) < best[0] - 1e-12:
            best = (abs(frr - far), (frr + far) / 2)
    return best[1]


@pytest.mark.parametrize("seed", range(5))
def test_eer_agrees_with_a_search_over_all_thresholds(seed: int) -> None:
    score, is_spoof = gaussian_scores(seed, 301, share_spoof=0.3 + 0.1 * seed)
    assert equal_error_rate(score, is_spoof)[0] == pytest.approx(brute_force_eer(score, is_spoof), abs=FOUR_DIGITS)


@UNTIMED
@given(both_classes())
def test_eer_agrees_with_the_search_where_scores_tie(data: tuple[FloatArray, BoolArray]) -> None:
    assert equal_error_rate(*data)[0] == pytest.approx(brute_force_eer(*data), abs=1e-12)


def test_eer_of_known_gaussians_comes_near_the_theory() -> None:
    score, is_spoof = gaussian_scores(0, 200_000)
    assert equal_error_rate(score, is_spoof)[0] == pytest.approx(0.158655, abs=0.003)  # Phi(-1)


@pytest.mark.parametrize(
    ("bonafide", "spoof", "expected"),
    [
        ([1, 2, 3], [4, 5, 6], 0.0),
        ([4, 5, 6], [1, 2, 3], 1.0),
        ([1, 1, 1], [1, 1], 0.5),
        ([1, 2, 3, 5], [4, 6, 7, 8], 0.25),  # one of four on each side
    ],
)
def test_eer_worked_by_hand(bonafide: list[int], spoof: list[int], expected: float) -> None:
    assert equal_error_rate(*columns(bonafide, spoof))[0] == expected


def test_eer_threshold_gives_these_error_rates() -> None:
    score, is_spoof = gaussian_scores(3, 500)
    eer, threshold = equal_error_rate(score, is_spoof)
    rejected, accepted = np.mean(score[~is_spoof] >= threshold), np.mean(score[is_spoof] < threshold)
    assert eer == pytest.approx((rejected + accepted) / 2)


def test_curve_rates_count_who_is_wronged_at_each_threshold() -> None:
    score, is_spoof = gaussian_scores(4, 60)
    curve = error_curve(score, is_spoof)
    for threshold, rejected, accepted in zip(
        curve.threshold, curve.bonafide_rejected, curve.spoof_accepted, strict=True
    ):
        assert rejected == pytest.approx(np.mean(score[~is_spoof] >= threshold))
        assert accepted == pytest.approx(np.mean(score[is_spoof] < threshold))


@UNTIMED
@given(both_classes())
def test_auc_is_the_chance_that_a_spoof_scores_higher(data: tuple[FloatArray, BoolArray]) -> None:
    score, is_spoof = data
    pairs = [(s > b) + 0.5 * (s == b) for s in score[is_spoof] for b in score[~is_spoof]]
    assert roc_auc(score, is_spoof) == pytest.approx(sum(pairs) / len(pairs))


def brute_force_min_dcf(score: FloatArray, is_spoof: BoolArray) -> float:
    """ASVspoof 5: P_spf = 0.05, C_miss = 1, C_fa = 10, normalised by the better blind decision."""
    costs = [1.0 * 0.95 * frr + 10.0 * 0.05 * far for frr, far in asvspoof_points(score, is_spoof)]
    return min(costs) / min(1.0 * 0.95, 10.0 * 0.05)


@UNTIMED
@given(both_classes())
def test_min_dcf_agrees_with_its_definition(data: tuple[FloatArray, BoolArray]) -> None:
    assert min_dcf(*data) == pytest.approx(brute_force_min_dcf(*data), abs=1e-12)


def test_min_dcf_worked_by_hand() -> None:
    # Best: reject the human at 5 (1 of 4), accept no spoof: 0.95 * 0.25 / 0.5. The mirror image costs 0.25.
    score, is_spoof = columns([1, 2, 3, 5], [4, 6, 7, 8])
    assert min_dcf(score, is_spoof) == pytest.approx(0.25)
    assert min_dcf(-score, ~is_spoof) == pytest.approx(0.25)
    assert min_dcf(score, is_spoof, DetectionCost(0.5, 1.0, 10.0)) == pytest.approx(0.25)


@UNTIMED
@given(both_classes())
def test_min_dcf_is_never_above_deciding_without_listening(data: tuple[FloatArray, BoolArray]) -> None:
    assert 0.0 <= min_dcf(*data) <= 1.0


def test_actual_dcf_agrees_with_its_definition() -> None:
    score, is_spoof = gaussian_scores(5, 700)
    llr = 2.0 * score
    threshold = -math.log(1.0 * 0.95 / (10.0 * 0.05))  # on the bona fide ratio, which is -llr
    miss = np.mean(-llr[~is_spoof] < threshold)
    false_accept = np.mean(-llr[is_spoof] >= threshold)
    assert actual_dcf(llr, is_spoof) == pytest.approx((0.95 * miss + 0.5 * false_accept) / 0.5)


@UNTIMED
@given(both_classes(), st.floats(0.1, 3.0))
def test_actual_dcf_is_never_below_the_least(data: tuple[FloatArray, BoolArray], slope: float) -> None:
    score, is_spoof = data
    assert actual_dcf(slope * score, is_spoof) >= min_dcf(score, is_spoof) - 1e-12


@UNTIMED
@given(both_classes(), st.sampled_from(RISING_MAPS))
def test_a_rising_map_changes_no_discrimination_figure(
    data: tuple[FloatArray, BoolArray], rising: Callable[[FloatArray], FloatArray]
) -> None:
    score, is_spoof = data
    mapped = rising(score)
    assert equal_error_rate(mapped, is_spoof)[0] == equal_error_rate(score, is_spoof)[0]
    assert roc_auc(mapped, is_spoof) == roc_auc(score, is_spoof)
    assert min_dcf(mapped, is_spoof) == min_dcf(score, is_spoof)


def test_confusion_counts_and_their_ratios_by_hand() -> None:
    found = confusion_at(*columns([1, 2, 3, 5, 6], [4, 6, 7]), threshold=5.0)
    assert found == Confusion(spoof_detected=2, spoof_accepted=1, bonafide_rejected=2, bonafide_accepted=3)
    assert found.precision == pytest.approx(2 / 4)
    assert found.recall == pytest.approx(2 / 3)
    assert found.f1 == pytest.approx(2 * (1 / 2 * 2 / 3) / (1 / 2 + 2 / 3))
    assert found.balanced_accuracy == pytest.approx((2 / 3 + 3 / 5) / 2)


def test_precision_of_no_calls_is_zero_and_no_error() -> None:
    found = confusion_at(*columns([1, 2], [3, 4]), threshold=9.0)
    assert (found.precision, found.recall, found.f1) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("figure", [equal_error_rate, roc_auc, min_dcf, actual_dcf])
@pytest.mark.parametrize("only", [True, False])
def test_one_class_alone_is_a_clear_error(figure: Callable[[FloatArray, BoolArray], object], only: bool) -> None:
    with pytest.raises(EvaluationInputError, match="both classes"):
        figure(np.array([0.1, 0.2]), np.array([only, only]))


@pytest.mark.parametrize(
    ("score", "is_spoof", "message"),
    [
        (np.array([0.0, np.nan]), np.array([True, False]), "not a number"),
        (np.array([0.0]), np.array([True, False]), "one length"),
        (np.zeros((2, 1)), np.array([True, False]), "one length"),
        (np.array([0.0, 1.0]), np.array([0, 1]), "boolean"),
        (np.array([]), np.array([], dtype=bool), "both classes"),
    ],
)
def test_unusable_columns_are_clear_errors(score: FloatArray, is_spoof: BoolArray, message: str) -> None:
    with pytest.raises(EvaluationInputError, match=message):
        equal_error_rate(score, is_spoof)


@pytest.mark.parametrize("wrong", [(0.0, 1.0, 1.0), (1.0, 1.0, 1.0), (0.5, 0.0, 1.0), (0.5, 1.0, -1.0)])
def test_senseless_costs_are_refused(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(EvaluationInputError):
        DetectionCost(*wrong)


def test_each_kind_of_spoof_is_set_against_all_bona_fide() -> None:
    score, is_spoof = columns([1, 2], [3, 4, 0, 0])
    kinds = np.array(["human", "human", "vc", "vc", "tts", "tts"])
    assert eer_by_kind(score, is_spoof, kinds) == {"tts": 1.0, "vc": 0.0}


def columns(bonafide: list[int], spoof: list[int]) -> tuple[FloatArray, BoolArray]:
    return (
        np.array(bonafide + spoof, dtype=np.float64),
        np.array([False] * len(bonafide) + [True] * len(spoof)),
    )
