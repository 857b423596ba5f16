"""Calibration out of fold: nothing that is judged had a say in the line that judges it."""

from dataclasses import replace

import numpy as np
import pytest

from earwitness.calibration import Calibration, posterior
from earwitness.finding import Verdict
from earwitness.policy import decide
from ml.evaluation.calibrate import fit_affine
from ml.evaluation.calibrate_folds import (
    CLLR_TIE,
    FITS,
    FittedCalibration,
    best_calibrated,
    calibrate_out_of_fold,
    capped_llr,
    choose_calibration,
    cross_checked_outcome,
    fit_calibration,
    probability,
)
from ml.evaluation.calibrate_thresholds import ThresholdGoal, choose_thresholds
from ml.evaluation.metrics_calibration import cllr
from ml.evaluation.scores import EvaluationInputError, joined
from ml.tests.score_tables import make_table, replaced

TABLE = make_table()
ALL_ROWS = np.ones(len(TABLE), dtype=bool)


def test_clips_of_a_source_have_no_say_in_their_own_llr() -> None:
    before = calibrate_out_of_fold(TABLE, ALL_ROWS, seed=0)
    for fold in range(3):
        judged = before.fold == fold
        # All but one of the fold's scores are exchanged; the line that judges the one must not move.
        kept, *others = np.flatnonzero(judged)
        score = TABLE.score.copy()
        score[others] = score[others[::-1]]
        after = calibrate_out_of_fold(replaced(TABLE, score=score), ALL_ROWS, seed=0)
        assert after.llr[kept] == before.llr[kept]
        assert not np.array_equal(after.llr[~judged], before.llr[~judged])


def test_sources_are_never_split_between_fitting_and_judging() -> None:
    fold = calibrate_out_of_fold(TABLE, ALL_ROWS, seed=3).fold
    for repo in np.unique(TABLE.source_repo):
        assert len(np.unique(fold[TABLE.source_repo == repo])) == 1


def test_unknown_lineages_are_not_one_lineage() -> None:
    """Of Fake-or-Real no system is known: all spoof clips would be left out of every fold."""
    untold = replaced(TABLE, lineage=np.where(TABLE.is_spoof, "unknown", TABLE.lineage))
    found = calibrate_out_of_fold(untold, ALL_ROWS, seed=0)
    assert np.array_equal(found.fold, calibrate_out_of_fold(TABLE, ALL_ROWS, seed=0).fold)


def test_a_lineage_that_is_judged_is_not_fitted_on_from_another_source() -> None:
    """The same generator shown by two sources: its clips outside the fold must not matter."""
    first, second = "lineage-0-0", "lineage-1-0"
    shared = replaced(TABLE, lineage=np.where(np.isin(TABLE.lineage, [first, second]), "shared", TABLE.lineage))
    before = calibrate_out_of_fold(shared, ALL_ROWS, seed=0)
    of_first = (TABLE.lineage == first) & TABLE.is_spoof
    of_second = (TABLE.lineage == second) & TABLE.is_spoof
    assert before.fold[of_first][0] != before.fold[of_second][0]  # else this seed shows nothing
    spoiled = replaced(shared, score=np.where(of_second, 30.0, shared.score))
    after = calibrate_out_of_fold(spoiled, ALL_ROWS, seed=0)
    assert np.array_equal(after.llr[of_first], before.llr[of_first])


def test_rows_that_may_not_be_fitted_on_are_judged_but_have_no_say() -> None:
    may_fit = np.arange(len(TABLE)) % 3 != 0
    spoiled = replaced(TABLE, score=np.where(may_fit, TABLE.score, 40.0))
    first = fit_calibration(TABLE, may_fit, seed=0)
    second = fit_calibration(spoiled, may_fit, seed=0)
    assert first.calibration == second.calibration
    assert first.after == second.after
    assert np.array_equal(first.out_of_fold.llr[may_fit], second.out_of_fold.llr[may_fit])
    assert len(first.out_of_fold.llr) == len(TABLE)


def test_ece_and_cllr_improve_out_of_fold_on_an_overconfident_detector() -> None:
    fitted = fit_calibration(make_table(scale=4.0, n=2000, repos=40), seed=0)
    assert fitted.after.ece_equal_mass < fitted.before.ece_equal_mass
    assert fitted.after.cllr < fitted.before.cllr
    assert fitted.after.cllr_cal < 0.05
    assert fitted.calibration.slope < 0.5


def test_temperature_scaling_improves_ece_too() -> None:
    fitted = fit_calibration(make_table(scale=4.0, n=2000, repos=40), seed=0, method="temperature")
    assert fitted.calibration.intercept == 0.0
    assert fitted.after.ece_equal_mass < fitted.before.ece_equal_mass


def test_an_overconfident_detector_gets_a_line() -> None:
    chosen = choose_calibration(make_table(scale=4.0, n=2000, repos=40), seed=0)
    assert chosen.method != "identity"
    assert chosen.after.ece_equal_mass < chosen.before.ece_equal_mass


def test_a_line_that_does_not_carry_over_to_other_sources_is_not_taken() -> None:
    # Honest log-likelihood ratios, but few sources, each with an offset of its own: a line learns the offsets.
    rng = np.random.default_rng(3)
    table = make_table(n=240, repos=5)
    offset = dict(zip(np.unique(table.source_repo), rng.normal(0, 1.5, 5), strict=True))
    score = np.where(table.is_spoof, 0.6, -0.6) + rng.normal(size=240) + [offset[r] for r in table.source_repo]
    uneven = replaced(table, score=score)
    chosen = choose_calibration(uneven, seed=0)
    assert chosen.after.cllr == min(fit_calibration(uneven, seed=0, method=m).after.cllr for m in FITS)
    assert chosen.after.cllr <= fit_calibration(uneven, seed=0, method="identity").after.cllr


def test_of_methods_that_are_as_good_the_one_with_the_lowest_ece_is_taken() -> None:
    fitted = fit_calibration(TABLE, seed=0)

    def of(cllr_out_of_fold: float, ece: float) -> FittedCalibration:
        return replace(fitted, after=replace(fitted.after, cllr=cllr_out_of_fold, ece_equal_mass=ece))

    best, tied, worse = of(0.490, 0.06), of(0.490 + 0.9 * CLLR_TIE, 0.05), of(0.490 + 1.1 * CLLR_TIE, 0.01)
    assert best_calibrated([best, tied, worse]) is tied
    assert best_calibrated([best, worse]) is best


def test_the_shipped_line_is_the_fit_on_all_rows() -> None:
    line = fit_affine(TABLE.score, TABLE.is_spoof)
    calibration = fit_calibration(TABLE, seed=0).calibration
    assert (calibration.slope, calibration.intercept) == (line.slope, line.intercept)


def test_the_same_seed_gives_the_same_numbers() -> None:
    first, second = fit_calibration(TABLE, seed=5), fit_calibration(TABLE, seed=5)
    assert first.calibration == second.calibration
    assert np.array_equal(first.out_of_fold.llr, second.out_of_fold.llr)


def test_columns_come_out_as_the_librarys_own_calibration_and_posterior() -> None:
    calibration = Calibration(slope=0.7, intercept=-0.4, llr_min=-2.0, llr_max=3.0)
    llr = capped_llr(TABLE.score, calibration)
    assert llr.tolist() == pytest.approx([calibration.llr(float(s)) for s in TABLE.score])
    assert probability(llr).tolist() == pytest.approx([posterior(float(x)) for x in llr])


def test_cross_checked_thresholds_decide_by_the_other_folds() -> None:
    table = make_table(seed=1, n=3000, repos=40)
    out_of_fold = calibrate_out_of_fold(table, np.ones(3000, dtype=bool), seed=0)
    outcome = cross_checked_outcome(out_of_fold, table.is_spoof, ThresholdGoal(0.03, 0.05))
    assert outcome.bonafide_called_deepfake <= 0.03
    assert outcome.spoof_called_authentic <= 0.05
    assert 0.0 < outcome.suspicious_share < 1.0


def test_cross_checked_outcome_agrees_with_deciding_fold_by_fold() -> None:
    table, goal = make_table(seed=2, n=3000, repos=40), ThresholdGoal(0.03, 0.05)
    out_of_fold = calibrate_out_of_fold(table, np.ones(3000, dtype=bool), seed=0)
    p_fake = [posterior(float(llr)) for llr in out_of_fold.llr]
    wrong = 0
    for fold in range(5):
        others = out_of_fold.fold != fold
        thresholds = choose_thresholds(np.array(p_fake)[others], table.is_spoof[others], goal).thresholds
        for i in np.flatnonzero(~others):
            wrong += not table.is_spoof[i] and decide(p_fake[i], thresholds) is Verdict.DEEPFAKE
    outcome = cross_checked_outcome(out_of_fold, table.is_spoof, goal)
    assert outcome.bonafide_called_deepfake == pytest.approx(wrong / (~table.is_spoof).sum())


def test_a_second_condition_of_a_clip_stays_in_its_fold() -> None:
    noisy = replaced(TABLE, score=TABLE.score * 0.8, condition=np.full(len(TABLE), "noise"))
    both = joined([TABLE, noisy])
    out_of_fold = calibrate_out_of_fold(both, both.condition == "clean", seed=0)
    n = len(TABLE)
    assert np.array_equal(out_of_fold.fold[:n], out_of_fold.fold[n:])
    assert cllr(out_of_fold.llr[n:], TABLE.is_spoof) < 1.0


def test_fewer_sources_than_folds_are_refused() -> None:
    with pytest.raises(EvaluationInputError, match="use fewer folds"):
        calibrate_out_of_fold(make_table(repos=3), ALL_ROWS, seed=0, folds=5)


def test_one_generator_in_all_sources_leaves_nothing_to_fit_on_and_says_so() -> None:
    table = replaced(TABLE, lineage=np.where(TABLE.is_spoof, "the-same", "human"))
    with pytest.raises(EvaluationInputError, match=r"fold 1 of 5: .* share no lineage"):
        calibrate_out_of_fold(table, ALL_ROWS, seed=0)
