"""The figures of the model card: written between two marks of a Markdown file, so that no figure is copied by hand.

    write_card(Path("docs/model-card.md"), report, spec)

What is around the marks (intended use, limits, in words) belongs to people and is left as it is.
"""

from collections.abc import Sequence
from pathlib import Path

from earwitness.model_spec import ModelSpec
from ml.evaluation.atomic_write import write_text
from ml.evaluation.evaluate_model import Report
from ml.evaluation.scores import EvaluationInputError
from ml.evaluation.summary_text import (
    FLIP_HEADER,
    FLIP_TITLE,
    GOAL_HEADER,
    PART_HEADER,
    flip_cells,
    goal_cells,
    part_cells,
    pooled_lines,
    tables,
)

BEGIN = "<!-- figures: written by `make export`, do not edit -->"
END = "<!-- end of the figures -->"
TOO_LONG_FOR_A_CARD = 40  # rows: tables by system and lineage stay in the report
RENDERED_LANGUAGES = "languages_rendered"
"""Key of a spec's `training`: how many languages own renderings speak. Specs from before it was written count those,
and clips of no known language as one, among `languages`."""
TRAINING_NAMES = {
    "parameters": "parameters",
    "steps": "steps of training",
    "bonafide_clips": "bona fide clips trained on",
    "spoof_clips": "spoof clips trained on",
    "lineages": "systems trained on, without their variants",
    "languages": "languages trained on",
    RENDERED_LANGUAGES: "languages of the own renderings trained on",
    "hours": "hours trained on",
    "heldout_eer": "EER on the part of the training clips that was held out",
}


def write_card(path: Path, report: Report, spec: ModelSpec) -> Path:
    """Put the figures of `report` and `spec` between the marks of the card at `path`; the rest stays.

    Raises EvaluationInputError where the file or its marks are missing.
    """
    text = read_card(path)
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return write_text(path, f"{before}{BEGIN}\n{card_figures(report, spec)}\n{END}{after}")


def read_card(path: Path) -> str:
    """The card's text, checked for the two marks; raises EvaluationInputError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise EvaluationInputError(f"can't read the model card {path}: {error}") from error
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise EvaluationInputError(f"{path} needs the lines {BEGIN!r} and {END!r} once each, in this order")
    return text


def card_figures(report: Report, spec: ModelSpec) -> str:
    """The part between the marks, in Markdown."""
    summary, line = report.summary, spec.calibration
    model = {
        "model": spec.model_version,
        "SHA-256 of the graph": f"`{spec.graph_sha256}`",
        "seed": spec.seed,
        **{title: _short(spec.training[key]) for key, title in TRAINING_NAMES.items() if key in spec.training},
        "calibration": f"llr = {line.slope:.4f} * score {line.intercept:+.4f}, within "
        f"[{line.llr_min:.2f}, {line.llr_max:.2f}]",
        "thresholds": f"AUTHENTIC at p_fake <= {spec.thresholds.t_low:.3f}, DEEPFAKE at >= "
        f"{spec.thresholds.t_high:.3f}: {spec.thresholds_chosen}",
        **{key: report.provenance[key] for key in ("clips", "machine")},
    }
    parts = [
        "## The model",
        _table(("", ""), [(key, str(value)) for key, value in model.items()]),
        "## Against the goals",
        _table(GOAL_HEADER, [goal_cells(goal) for goal in report.goals]),
        "## Figures",
        *pooled_lines(summary),
    ]
    for title, rows in tables(summary):
        if len(rows) <= TOO_LONG_FOR_A_CARD:
            parts += [f"### {title}", _table(PART_HEADER, [part_cells(row) for row in rows])]
    if summary.flips:
        parts += [f"### {FLIP_TITLE}", _table(FLIP_HEADER, [flip_cells(flips) for flips in summary.flips])]
    if report.segments is not None:
        parts += ["### Frame scores on spliced recordings", *report.segments.text.splitlines()]
    return "\n\n".join(parts)


def _short(value: object) -> object:
    return f"{value:.4g}" if isinstance(value, float) else value


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
