"""The summary: each figure is that of its part of the table, and its shape stays as it is."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earwitness.policy import Thresholds
from ml.evaluation.calibrate_folds import calibration_figures, fit_calibration
from ml.evaluation.conditions import GOAL_CONDITIONS, ROBUSTNESS
from ml.evaluation.metrics import equal_error_rate, min_dcf
from ml.evaluation.metrics_calibration import cllr
from ml.evaluation.metrics_tandem import AsvErrorRates, min_tdcf_2019, min_tdcf_2021
from ml.evaluation.scores import EvaluationInputError, joined
from ml.evaluation.summary import Part, Summary, summarise, to_json, write_summary
from ml.evaluation.summary_goals import JudgedGoal, Measured, judge_goals
from ml.evaluation.summary_text import summary_text, table_lines
from ml.tests.score_tables import make_table, replaced

CLEAN_TABLE = make_table(n=600, repos=15)
NOISY_TABLE = replaced(
    CLEAN_TABLE,
    score=CLEAN_TABLE.score + np.random.default_rng(9).normal(size=len(CLEAN_TABLE)),
    condition=np.full(len(CLEAN_TABLE), "noise_10db"),
)
TABLE = joined([CLEAN_TABLE, NOISY_TABLE])
LLR = fit_calibration(TABLE, TABLE.condition == "clean", seed=0).out_of_fold.llr
THRESHOLDS = Thresholds(t_low=0.2, t_high=0.9)


def summary_of(**options: Any) -> Summary:
    return summarise(TABLE, LLR, THRESHOLDS, seed=0, llr_origin="out of fold", resamples=50, **options)


SUMMARY = summary_of()


def named(parts: tuple[Part, ...], name: str) -> Part:
    return next(part for part in parts if part.name == name)


def test_pooled_figures_are_of_the_clean_rows_only() -> None:
    assert (SUMMARY.pooled.bonafide, SUMMARY.pooled.spoof) == (240, 360)
    assert SUMMARY.pooled.eer == equal_error_rate(CLEAN_TABLE.score, CLEAN_TABLE.is_spoof)[0]
    assert SUMMARY.min_dcf == min_dcf(CLEAN_TABLE.score, CLEAN_TABLE.is_spoof)
    assert SUMMARY.raw_calibration == calibration_figures(CLEAN_TABLE.score, CLEAN_TABLE.is_spoof)
    assert SUMMARY.calibration == calibration_figures(LLR[: len(CLEAN_TABLE)], CLEAN_TABLE.is_spoof)
    interval = SUMMARY.pooled.eer_interval
    assert interval is not None
    assert interval.low <= interval.estimate <= interval.high


@pytest.mark.parametrize("kind", ["tts", "vc", "vocoder", "codec"])
def test_each_kind_stands_against_all_bona_fide_clips(kind: str) -> None:
    rows = ~CLEAN_TABLE.is_spoof | (CLEAN_TABLE.kind == kind)
    part = named(SUMMARY.by_kind, kind)
    assert part.eer == equal_error_rate(CLEAN_TABLE.score[rows], CLEAN_TABLE.is_spoof[rows])[0]
    assert (part.bonafide, part.spoof) == (240, int((CLEAN_TABLE.kind == kind).sum()))


def test_harder_kinds_have_higher_error_rates() -> None:
    eer = {part.name: part.eer or 0.0 for part in SUMMARY.by_kind}
    assert eer["vocoder"] > eer["codec"] > max(eer["tts"], eer["vc"])


def test_conditions_are_kept_apart() -> None:
    assert [part.name for part in SUMMARY.by_condition] == ["clean", "noise_10db"]
    clean, noise = SUMMARY.by_condition
    assert noise.eer == equal_error_rate(NOISY_TABLE.score, NOISY_TABLE.is_spoof)[0]
    assert clean.eer != noise.eer


def test_lineages_and_systems_say_how_many_of_them_were_detected() -> None:
    part = SUMMARY.by_lineage[0]
    rows = CLEAN_TABLE.lineage == part.name
    p_fake = 1 / (1 + np.exp(-LLR[: len(CLEAN_TABLE)][rows]))
    assert part.spoof == rows.sum()
    assert part.outcome.spoof_called_deepfake == pytest.approx(np.mean(p_fake >= THRESHOLDS.t_high))
    assert part.mean_score == pytest.approx(CLEAN_TABLE.score[rows].mean())
    assert len(SUMMARY.by_system) == len(np.unique(CLEAN_TABLE.system[CLEAN_TABLE.is_spoof]))


def test_parts_by_language_and_by_length_hold_every_clip_once() -> None:
    for parts in (SUMMARY.by_language, SUMMARY.by_length):
        assert sum(part.bonafide + part.spoof for part in parts) == 600


def test_a_part_of_one_class_has_no_error_rate_and_no_interval() -> None:
    language = np.where(TABLE.is_spoof, TABLE.language, "fr")
    found = summarise(
        replaced(TABLE, language=language), LLR, THRESHOLDS, seed=0, llr_origin="out of fold", resamples=20
    )
    french = named(found.by_language, "fr")
    assert (french.eer, french.auc, french.eer_interval, french.spoof) == (None, None, None, 0)
    assert french.outcome.bonafide_called_deepfake < 0.1


def test_abstentions_are_suspicious_in_the_outcome() -> None:
    found = summary_of(abstained=np.ones(len(TABLE), dtype=bool))
    assert found.pooled.outcome.suspicious_share == 1.0
    assert found.pooled.eer == SUMMARY.pooled.eer


def test_the_same_input_gives_the_same_bytes() -> None:
    assert to_json(summary_of()) == to_json(SUMMARY)


def test_the_json_holds_every_key_that_readers_rely_on(tmp_path: Path) -> None:
    content = json.loads(write_summary(tmp_path / "s.json", SUMMARY).read_text(encoding="utf-8"))
    assert content == json.loads(json.dumps(asdict(SUMMARY)))
    assert list(content) == [
        "summary_version", "llr_origin", "thresholds", "pooled", "min_dcf", "at_eer", "at_zero_llr",
        "raw_calibration", "calibration", "by_kind", "by_lineage", "by_system", "by_language", "by_length",
        "by_condition", "flips", "by_novelty", "seen_lineages", "unseen_lineages", "min_tdcf_2019", "min_tdcf_2021",
    ]  # fmt: skip
    assert list(content["pooled"]) == [
        "name", "bonafide", "spoof", "eer", "eer_interval", "auc", "mean_score", "outcome", "cllr",
    ]  # fmt: skip
    assert content["summary_version"] == 1


def test_confusion_counts_add_up_to_the_classes() -> None:
    for decisions in (SUMMARY.at_eer, SUMMARY.at_zero_llr):
        assert decisions.spoof_detected + decisions.spoof_accepted == 360
        assert decisions.bonafide_rejected + decisions.bonafide_accepted == 240
        assert 0.5 < decisions.f1 <= 1.0


def test_a_table_without_clean_rows_or_with_too_few_llrs_is_refused() -> None:
    with pytest.raises(EvaluationInputError, match="clean"):
        summarise(NOISY_TABLE, LLR[:600], THRESHOLDS, seed=0, llr_origin="")
    with pytest.raises(EvaluationInputError, match="llrs"):
        summarise(TABLE, LLR[:-1], THRESHOLDS, seed=0, llr_origin="")


def test_seen_and_unseen_lineages_are_listed_and_each_has_its_error_rate() -> None:
    lineage = np.where(TABLE.lineage == "lineage-2-0", "unknown", TABLE.lineage)
    trained = {"lineage-0-0", "lineage-1-1", "elsewhere"}
    found = summarise(
        replaced(TABLE, lineage=lineage),
        LLR,
        THRESHOLDS,
        seed=0,
        llr_origin="",
        resamples=10,
        trained_lineages=trained,
    )
    assert found.seen_lineages == ("lineage-0-0", "lineage-1-1")
    assert len(found.unseen_lineages) == len(np.unique(CLEAN_TABLE.lineage[CLEAN_TABLE.is_spoof])) - 3
    assert [part.name for part in found.by_novelty] == [
        "lineage in training",
        "lineage never heard",
        "lineage unknown",
    ]
    rows = ~CLEAN_TABLE.is_spoof | np.isin(CLEAN_TABLE.lineage, sorted(trained))
    assert found.by_novelty[0].eer == equal_error_rate(CLEAN_TABLE.score[rows], CLEAN_TABLE.is_spoof[rows])[0]
    assert sum(part.spoof for part in found.by_novelty) == 360
    assert "2 that training had" in summary_text(found, ())


def test_without_knowledge_of_the_training_nothing_is_called_seen_or_unseen() -> None:
    assert (SUMMARY.by_novelty, SUMMARY.seen_lineages, SUMMARY.unseen_lineages) == ((), (), ())
    assert "training had" not in summary_text(SUMMARY, ())


def test_the_tandem_cost_is_there_where_verification_rates_are_given() -> None:
    asv = AsvErrorRates(0.02, 0.02, 0.6)
    found = summary_of(asv=asv)
    assert found.min_tdcf_2019 == min_tdcf_2019(CLEAN_TABLE.score, CLEAN_TABLE.is_spoof, asv)
    assert found.min_tdcf_2021 == min_tdcf_2021(CLEAN_TABLE.score, CLEAN_TABLE.is_spoof, asv)
    assert f"min t-DCF {found.min_tdcf_2019:.4f}" in summary_text(found, ())
    assert SUMMARY.min_tdcf_2019 is None
    assert "t-DCF" not in summary_text(SUMMARY, ())


GOALS = {goal.key: goal for goal in judge_goals(SUMMARY)}


def test_every_goal_carries_the_figure_of_its_part() -> None:
    assert GOALS["eer_pooled"].figure == SUMMARY.pooled.eer
    assert GOALS["eer_vocoder"].figure == named(SUMMARY.by_kind, "vocoder").eer
    assert GOALS["eer_worst_condition"].figure == named(SUMMARY.by_condition, "noise_10db").eer
    assert GOALS["eer_worst_condition"].note == "noise_10db, of 1 of 8 conditions"
    assert GOALS["decided"].figure == SUMMARY.pooled.outcome.decided_share
    assert GOALS["cllr_cal"].figure == SUMMARY.calibration.cllr_cal


def test_goals_are_met_exactly_up_to_their_limits() -> None:
    def judged(eer: float, decided: float) -> dict[str, JudgedGoal]:
        outcome = replace(SUMMARY.pooled.outcome, decided_share=decided)
        changed = replace(SUMMARY, pooled=replace(SUMMARY.pooled, eer=eer, outcome=outcome))
        return {goal.key: goal for goal in judge_goals(changed)}

    at_limit, beyond = judged(0.10, 0.75), judged(0.1001, 0.7499)
    assert (at_limit["eer_pooled"].met, at_limit["decided"].met) == (True, True)
    assert (beyond["eer_pooled"].met, beyond["decided"].met) == (False, False)


def test_a_figure_that_was_not_measured_is_neither_met_nor_missed() -> None:
    assert GOALS["model_bytes"].met is None
    measured = {g.key: g for g in judge_goals(SUMMARY, Measured(2_900_000, 0.4, 0.25))}
    assert [measured[key].met for key in ("model_bytes", "cost_over_vad", "segment_eer")] == [True, True, False]


@pytest.mark.parametrize(
    ("measured", "worst_eer", "met"),
    [(8, 0.16, True), (8, 0.17, False), (7, 0.16, None), (7, 0.17, False), (0, None, None)],
)
def test_the_worst_condition_is_met_only_where_all_were_measured(
    measured: int, worst_eer: float | None, met: bool | None
) -> None:
    parts = [replace(SUMMARY.pooled, name=name, eer=0.1) for name in ("clean", *GOAL_CONDITIONS[:measured])]
    if measured:
        parts[-1] = replace(parts[-1], eer=worst_eer)
    others = [replace(SUMMARY.pooled, name=name, eer=0.5) for name in (*ROBUSTNESS, "amr_4.75k+mp3_16k")]
    goals = {goal.key: goal for goal in judge_goals(replace(SUMMARY, by_condition=(*parts, *others)))}
    judged = goals["eer_worst_condition"]
    assert (judged.figure, judged.met) == (worst_eer, met)


def test_the_worst_language_is_taken_among_those_with_enough_clips() -> None:
    def language(name: str, bonafide: int, rate: float) -> Part:
        outcome = replace(SUMMARY.pooled.outcome, bonafide_called_deepfake=rate)
        return replace(SUMMARY.pooled, name=name, bonafide=bonafide, outcome=outcome)

    parts = (language("en", 200, 0.01), language("de", 30, 0.035), language("yo", 29, 0.3))
    goals = {goal.key: goal for goal in judge_goals(replace(SUMMARY, by_language=parts))}
    judged = goals["bonafide_deepfake_language"]
    assert (judged.figure, judged.note, judged.met) == (0.035, "de", True)


def test_the_text_shows_every_goal_and_every_table() -> None:
    text = summary_text(SUMMARY, judge_goals(SUMMARY))
    for goal in GOALS.values():
        assert goal.what in text
    for word in ("NOT MET", "not measured", "noise_10db", "vocoder", "By length", "SUSPICIOUS", "out of fold"):
        assert word in text
    assert text.endswith("\n")


def test_columns_line_up() -> None:
    assert table_lines(("a", "bb"), [("long", "1"), ("x", "100")]) == ["a      bb", "long    1", "x     100"]


def test_each_condition_has_its_own_cllr() -> None:
    """A forensic report shows the Cllr of the condition that is nearest to its recording."""
    for part in SUMMARY.by_condition:
        rows = TABLE.condition == part.name
        assert part.cllr == pytest.approx(cllr(LLR[rows], TABLE.is_spoof[rows]))
    assert len({part.cllr for part in SUMMARY.by_condition}) == 2
