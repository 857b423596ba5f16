"""The summary as text for a terminal: goals first, then every table.

    print(summary_text(summary, judge_goals(summary)))

Formatting only; no figure is made here.
"""

from collections.abc import Sequence

from ml.evaluation.summary import Part, Summary
from ml.evaluation.summary_goals import JudgedGoal
from ml.evaluation.verdict_flips import Flips

PART_HEADER = (
    "", "bona fide", "spoof", "EER %", "AUC", "mean score", "spoof DEEPFAKE %", "spoof AUTHENTIC %",
    "bona fide DEEPFAKE %",
)  # fmt: skip
FLIP_HEADER = (
    "", "clips", "verdict changed %", "reversed %", "bona fide to DEEPFAKE %", "spoof to AUTHENTIC %",
)  # fmt: skip
FLIP_TITLE = "Verdicts against the clean recording's"
GOAL_HEADER = ("goal", "limit", "figure", "", "where")
NOT_MEASURED = "-"


def summary_text(summary: Summary, goals: Sequence[JudgedGoal]) -> str:
    """Ends with a newline. Rates in per cent, to one decimal."""
    lines = [
        "Goals",
        *table_lines(GOAL_HEADER, [goal_cells(goal) for goal in goals]),
        "",
        *pooled_lines(summary),
    ]
    for title, parts in tables(summary):
        lines += ["", title, *table_lines(PART_HEADER, [part_cells(part) for part in parts])]
    if summary.flips:
        lines += ["", FLIP_TITLE, *table_lines(FLIP_HEADER, [flip_cells(flips) for flips in summary.flips])]
    return "\n".join(lines) + "\n"


def pooled_lines(summary: Summary) -> list[str]:
    """The pooled figures, a sentence each."""
    before, after = summary.raw_calibration, summary.calibration
    pooled, outcome, at_eer = summary.pooled, summary.pooled.outcome, summary.at_eer
    interval = ""
    if pooled.eer_interval:
        found = pooled.eer_interval
        interval = (
            f" ({found.level:.0%} interval {percent(found.low)} to {percent(found.high)}, "
            f"{found.groups} sources drawn anew {found.resamples} times)"
        )
    eer = (
        f"Pooled, {pooled.bonafide} bona fide and {pooled.spoof} spoof: EER {percent(pooled.eer)} %{interval}, "
        f"AUC {number(pooled.auc)}, minDCF {summary.min_dcf:.3f}"
    )
    decisions = (
        f"At the EER threshold {at_eer.threshold:.3f}: {at_eer.spoof_detected} spoof detected, "
        f"{at_eer.spoof_accepted} missed, {at_eer.bonafide_accepted} bona fide accepted, "
        f"{at_eer.bonafide_rejected} called spoof; F1 {at_eer.f1:.3f}, precision {at_eer.precision:.3f}, "
        f"recall {at_eer.recall:.3f}"
    )
    calibration = (
        f"Calibration ({summary.llr_origin}), before -> after: "
        f"ECE {before.ece_equal_mass:.3f} -> {after.ece_equal_mass:.3f}, "
        f"Cllr {before.cllr:.3f} -> {after.cllr:.3f} (minCllr {after.min_cllr:.3f}), "
        f"Brier {before.brier:.3f} -> {after.brier:.3f}, NLL {before.nll:.3f} -> {after.nll:.3f}"
    )
    verdicts = (
        f"Verdicts: AUTHENTIC at p_fake <= {summary.thresholds.t_low:.3f}, "
        f"DEEPFAKE at >= {summary.thresholds.t_high:.3f}; {percent(outcome.decided_share)} % decided, "
        f"{percent(outcome.wrong_among_decided)} % of them wrong; "
        f"{percent(outcome.suspicious_share)} % SUSPICIOUS"
    )
    lines = [eer, decisions, calibration, verdicts]
    if summary.min_tdcf_2019 is not None and summary.min_tdcf_2021 is not None:
        lines.append(
            f"In tandem with the speaker verification: min t-DCF {summary.min_tdcf_2019:.4f} by the definition of "
            f"ASVspoof 2019, {summary.min_tdcf_2021:.4f} by that of 2021"
        )
    if summary.by_novelty:
        lines.append(
            f"Lineages of spoof: {len(summary.seen_lineages)} that training had, {len(summary.unseen_lineages)} that "
            "it never had; EER "
            + ", ".join(
                f"{percent(part.eer)} % on {part.spoof} clips ({part.name})" for part in summary.by_novelty
            )
        )
    return lines


def tables(summary: Summary) -> tuple[tuple[str, tuple[Part, ...]], ...]:
    """Every table by its title, hardest system first; one without rows is left out."""
    every = (
        ("By kind (each against all bona fide)", summary.by_kind),
        ("By whether training had the lineage (each against all bona fide)", summary.by_novelty),
        ("By condition", summary.by_condition),
        ("By language", tuple(sorted(summary.by_language, key=lambda p: -(p.bonafide + p.spoof)))),
        ("By length", summary.by_length),
        ("By lineage (each against all bona fide)", _hardest_first(summary.by_lineage)),
        ("By system (each against all bona fide)", _hardest_first(summary.by_system)),
    )
    return tuple((title, parts) for title, parts in every if parts)


def goal_cells(goal: JudgedGoal) -> tuple[str, ...]:
    """Goal, limit, figure, met or not, where."""
    met = {True: "met", False: "NOT MET", None: "not measured"}[goal.met]
    figure = (
        NOT_MEASURED if goal.figure is None else f"{goal.figure:.6g}" if goal.limit > 1 else f"{goal.figure:.4f}"
    )
    return (goal.what, f"{goal.sense} {goal.limit:.7g}", figure, met, goal.note)


def part_cells(part: Part) -> tuple[str, ...]:
    """In the order of PART_HEADER; a rate of no clips is not shown."""
    outcome = part.outcome
    return (
        part.name,
        str(part.bonafide),
        str(part.spoof),
        percent(part.eer),
        number(part.auc),
        f"{part.mean_score:.2f}",
        percent(outcome.spoof_called_deepfake if part.spoof else None),
        percent(outcome.spoof_called_authentic if part.spoof else None),
        percent(outcome.bonafide_called_deepfake if part.bonafide else None),
    )


def flip_cells(flips: Flips) -> tuple[str, ...]:
    """In the order of FLIP_HEADER."""
    shares = (flips.changed, flips.reversed, flips.bonafide_to_deepfake, flips.spoof_to_authentic)
    return (flips.condition, str(flips.clips), *map(percent, shares))


def percent(share: float | None) -> str:
    return NOT_MEASURED if share is None else f"{100 * share:.1f}"


def number(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.3f}"


def table_lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns padded to their widest cell, the first to the left and the others to the right."""
    cells = [tuple(header), *map(tuple, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return ["  ".join(_padded(row, widths)).rstrip() for row in cells]


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *others = zip(row, widths, strict=True)
    return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]


def _hardest_first(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    return tuple(sorted(parts, key=lambda p: (p.outcome.spoof_called_deepfake, p.mean_score)))
