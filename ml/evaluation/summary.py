"""The whole table of figures for one model on one score table.

    summary = summarise(table, llr, thresholds, seed=1)
    write_summary(Path("report.json"), summary)

Figures of discrimination come from the raw score, figures of calibration and the verdicts from `llr`. Everything
but the tables by condition is of the rows with the condition `clean`. The goals are in `summary_goals`, the
readable text in `summary_text`, the page in `page`.
"""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from earwitness.policy import Thresholds
from ml.evaluation.atomic_write import write_text
from ml.evaluation.calibrate_folds import CalibrationFigures, calibration_figures, probability
from ml.evaluation.calibrate_thresholds import Outcome, outcome_of
from ml.evaluation.metrics import confusion_at, equal_error_rate, min_dcf, roc_auc
from ml.evaluation.metrics_bootstrap import DEFAULT_RESAMPLES, Interval, bootstrap_interval, eer_of, enough_groups
from ml.evaluation.metrics_calibration import cllr
from ml.evaluation.metrics_tandem import AsvErrorRates, min_tdcf_2019, min_tdcf_2021
from ml.evaluation.scores import (
    CLEAN,
    UNKNOWN,
    BoolArray,
    EvaluationInputError,
    FloatArray,
    ScoreTable,
    TextArray,
)
from ml.evaluation.verdict_flips import Flips, verdict_flips

SUMMARY_VERSION = 1
"""Raised when a key changes its meaning or goes; new keys may come."""

MIN_CLIPS_FOR_RATE = 30
"""A language's error rate is judged from this many clips on (goal table); below, 4 % is one clip."""

SEEN, UNSEEN, UNTOLD = "lineage in training", "lineage never heard", "lineage unknown"

LENGTH_EDGES_S = (0.0, 1.5, 2.0, 3.0, 4.0, 8.0, 30.0)
"""Recordings are put in classes of length from one edge to the next, the last one open."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """At one threshold on the score: counts and what follows from them, positive = spoof."""

    threshold: float
    spoof_detected: int
    spoof_accepted: int
    bonafide_rejected: int
    bonafide_accepted: int
    precision: float
    recall: float
    f1: float
    balanced_accuracy: float


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the table. Figures that need both classes, or enough groups, are None where those lack."""

    name: str
    bonafide: int
    spoof: int
    eer: float | None
    eer_interval: Interval | None
    auc: float | None
    mean_score: float
    """Of the part's spoof clips; of its bona fide clips where it has no spoof."""
    outcome: Outcome
    cllr: float | None = None
    """Of the llrs as they are given to users."""


@dataclass(frozen=True, slots=True)
class Summary:
    summary_version: int
    llr_origin: str
    """In words: what calibration the llrs come from, and whether it saw these clips."""
    thresholds: Thresholds
    pooled: Part
    min_dcf: float
    """ASVspoof 5's priors and costs."""
    at_eer: Decisions
    at_zero_llr: Decisions
    """"Spoof" where llr >= 0: the decision at equal priors and costs."""
    raw_calibration: CalibrationFigures
    """Of the raw score read as an llr."""
    calibration: CalibrationFigures
    by_kind: tuple[Part, ...]
    """Each kind of spoof against all bona fide clips."""
    by_lineage: tuple[Part, ...]
    """Likewise; `system` without its variants"""
    by_system: tuple[Part, ...]
    by_language: tuple[Part, ...]
    by_length: tuple[Part, ...]
    by_condition: tuple[Part, ...]
    flips: tuple[Flips, ...]
    """Verdicts that changed between the clean recording and each condition."""
    by_novelty: tuple[Part, ...]
    """Spoof of lineages that training had, that it never had, and that can't be told, each against all bona fide
    clips; empty where it isn't known what the model was trained on."""
    seen_lineages: tuple[str, ...]
    unseen_lineages: tuple[str, ...]
    min_tdcf_2019: float | None = None
    """In tandem with a speaker verification whose scores were given; ASVspoof 2019's definition"""
    min_tdcf_2021: float | None = None
    """Likewise by ASVspoof 2021's"""


def summarise(
    table: ScoreTable,
    llr: FloatArray,
    thresholds: Thresholds,
    *,
    seed: int,
    llr_origin: str,
    abstained: BoolArray | None = None,
    resamples: int = DEFAULT_RESAMPLES,
    asv: AsvErrorRates | None = None,
    trained_lineages: Collection[str] | None = None,
) -> Summary:
    """All figures; `llr` and `abstained` have one value a row of `table`. Confidence intervals use `seed`.

    With `asv` also the min t-DCF, with `trained_lineages` (those of the spoof clips that were trained on) also how
    the detector does on lineages that it knew and on those that it never heard.
    """
    if len(llr) != len(table):
        raise EvaluationInputError(f"{len(table)} rows, but {len(llr)} llrs")
    left_out = np.zeros(len(table), dtype=np.bool_) if abstained is None else abstained
    clean = table.condition == CLEAN
    if not clean.any():
        raise EvaluationInputError(f"no row has the condition {CLEAN!r}: score the recordings as they are too")
    p_fake = probability(llr)

    def part(name: str, rows: BoolArray, *, interval: bool = False) -> Part:
        outcome = outcome_of(p_fake[rows], table.is_spoof[rows], thresholds, left_out[rows])
        made = _part(name, table.select(rows), outcome, seed=seed, resamples=resamples if interval else 0)
        both = made.bonafide > 0 and made.spoof > 0
        return replace(made, cllr=cllr(llr[rows], table.is_spoof[rows])) if both else made

    def against_bonafide(column: TextArray) -> tuple[Part, ...]:
        names = np.unique(column[clean & table.is_spoof])
        interval = column is table.kind
        return tuple(
            part(str(name), clean & (~table.is_spoof | (column == name)), interval=interval) for name in names
        )

    lineages = np.unique(table.lineage[clean & table.is_spoof & (table.lineage != UNKNOWN)])
    trained = sorted(trained_lineages or ())

    def by_novelty() -> tuple[Part, ...]:
        if trained_lineages is None:
            return ()
        seen, unknown = np.isin(table.lineage, trained), table.lineage == UNKNOWN
        groups = {SEEN: seen & ~unknown, UNSEEN: ~seen & ~unknown, UNTOLD: unknown}
        return tuple(
            part(name, clean & (~table.is_spoof | rows), interval=True)
            for name, rows in groups.items()
            if (clean & table.is_spoof & rows).any()
        )

    scored, spoof, ratio = table.score[clean], table.is_spoof[clean], llr[clean]
    length_class = np.searchsorted(LENGTH_EDGES_S, table.duration_s, side="right") - 1
    return Summary(
        summary_version=SUMMARY_VERSION,
        llr_origin=llr_origin,
        thresholds=thresholds,
        pooled=part("pooled", clean, interval=True),
        min_dcf=min_dcf(scored, spoof),
        at_eer=_decisions(scored, spoof, equal_error_rate(scored, spoof)[1]),
        at_zero_llr=_decisions(ratio, spoof, 0.0),
        raw_calibration=calibration_figures(scored, spoof),
        calibration=calibration_figures(ratio, spoof),
        by_kind=against_bonafide(table.kind),
        by_lineage=against_bonafide(table.lineage),
        by_system=against_bonafide(table.system),
        by_language=tuple(
            part(str(name), clean & (table.language == name)) for name in np.unique(table.language[clean])
        ),
        by_length=tuple(
            part(_length_name(int(c)), clean & (length_class == c)) for c in np.unique(length_class[clean])
        ),
        by_condition=tuple(
            part(str(name), table.condition == name, interval=True) for name in np.unique(table.condition)
        ),
        flips=verdict_flips(table, llr, thresholds, left_out),
        by_novelty=by_novelty(),
        seen_lineages=tuple(str(name) for name in lineages if trained_lineages is not None and name in trained),
        unseen_lineages=tuple(
            str(name) for name in lineages if trained_lineages is not None and name not in trained
        ),
        min_tdcf_2019=None if asv is None else min_tdcf_2019(scored, spoof, asv),
        min_tdcf_2021=None if asv is None else min_tdcf_2021(scored, spoof, asv),
    )


def to_json(summary: Summary) -> str:
    """Keys in the order of the dataclasses, no NaN; one trailing newline."""
    return json.dumps(asdict(summary), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_summary(path: Path, summary: Summary) -> Path:
    """Write the JSON whole or not at all."""
    return write_text(path, to_json(summary))


def _part(name: str, rows: ScoreTable, outcome: Outcome, *, seed: int, resamples: int) -> Part:
    spoof = int(rows.is_spoof.sum())
    bonafide = len(rows) - spoof
    both = spoof > 0 and bonafide > 0
    interval = None
    if resamples and enough_groups(rows.is_spoof, rows.source_repo):
        interval = bootstrap_interval(
            eer_of, rows.score, rows.is_spoof, rows.source_repo, seed=seed, resamples=resamples
        )
    return Part(
        name=name,
        bonafide=bonafide,
        spoof=spoof,
        eer=eer_of(rows.score, rows.is_spoof) if both else None,
        eer_interval=interval,
        auc=roc_auc(rows.score, rows.is_spoof) if both else None,
        mean_score=float(rows.score[rows.is_spoof].mean() if spoof else rows.score.mean()),
        outcome=outcome,
    )


def _decisions(score: FloatArray, is_spoof: BoolArray, threshold: float) -> Decisions:
    found = confusion_at(score, is_spoof, threshold)
    return Decisions(
        threshold=threshold,
        spoof_detected=found.spoof_detected,
        spoof_accepted=found.spoof_accepted,
        bonafide_rejected=found.bonafide_rejected,
        bonafide_accepted=found.bonafide_accepted,
        precision=found.precision,
        recall=found.recall,
        f1=found.f1,
        balanced_accuracy=found.balanced_accuracy,
    )


def _length_name(length_class: int) -> str:
    low = LENGTH_EDGES_S[length_class]
    if length_class + 1 == len(LENGTH_EDGES_S):
        return f"{low:g} s and more"
    return f"{low:g} to {LENGTH_EDGES_S[length_class + 1]:g} s"
