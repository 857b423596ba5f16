"""The evaluation report as one HTML file: no script, no network, plots inside as SVG.

    write_page(Path("report.html"), report_page(summary, goals, table, llr, title="...", provenance={...}))

The content security policy in the page forbids every request, so that it can be kept with a model for years and
opened anywhere. Figures come from `summary` and `summary_goals`; nothing is computed here.
"""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from ml.evaluation.atomic_write import write_text
from ml.evaluation.figures import det_figure, histogram_figure, reliability_figure, roc_figure, to_svg
from ml.evaluation.scores import CLEAN, EvaluationInputError, FloatArray, ScoreTable
from ml.evaluation.summary import SEEN, UNSEEN, Summary
from ml.evaluation.summary_goals import JudgedGoal
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

FOLDED_FROM_ROWS = 20
"""Longer tables are folded away until they are opened."""

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2em .7em; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
tr.met td:nth-child(4) { color: #00634a; } tr.missed td:nth-child(4) { color: #a33b00; font-weight: 600; }
.scroll { overflow-x: auto; } .plots { display: flex; flex-wrap: wrap; gap: 1em; }
.plots svg { width: 100%; max-width: 520px; height: auto; } .wide svg { width: 100%; height: auto; }
summary { cursor: pointer; color: #0072b2; }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def report_page(
    summary: Summary,
    goals: Sequence[JudgedGoal],
    table: ScoreTable,
    llr: FloatArray,
    *,
    title: str,
    provenance: Mapping[str, str],
    notes: Sequence[str] = (),
) -> str:
    """The page's text. `summary` was made from `table` and `llr`; `provenance` and `notes` are shown as given."""
    if len(llr) != len(table):
        raise EvaluationInputError(f"{len(table)} rows, but {len(llr)} llrs")
    clean = table.condition == CLEAN
    plotted, ratio = table.select(clean), llr[clean]
    square = {
        "roc": roc_figure(plotted),
        "det": det_figure(plotted),
        "reliability": reliability_figure(plotted, ratio),
    }
    body = [
        f"<h1>{escape(title)}</h1>",
        _table(("", ""), [(key, value) for key, value in provenance.items()]),
        "<h2>Goals</h2>",
        _goal_table(goals),
        "<h2>Pooled</h2>",
        *(f"<p>{escape(line)}</p>" for line in (*pooled_lines(summary), *notes)),
        "<p>Polarity: a higher score always means more likely spoof.</p>",
        '<div class="plots">',
        *(to_svg(figure, name) for name, figure in square.items()),
        '</div><div class="wide">',
        to_svg(histogram_figure(plotted, ratio, summary.thresholds), "histogram"),
        "</div>",
    ]
    for heading, parts in tables(summary):
        body += [
            f"<h2>{escape(heading)}</h2>",
            _folded(_table(PART_HEADER, [part_cells(part) for part in parts]), len(parts)),
        ]
    if summary.flips:
        flips = _table(FLIP_HEADER, [flip_cells(row) for row in summary.flips])
        body += [f"<h2>{escape(FLIP_TITLE)}</h2>", flips]
    if summary.by_novelty:
        for name, lineages in ((SEEN, summary.seen_lineages), (UNSEEN, summary.unseen_lineages)):
            rows = _table(("",), [(lineage,) for lineage in lineages])
            body += [f"<h2>{escape(name.capitalize())}: {len(lineages)}</h2>", _folded(rows, len(lineages))]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def write_page(path: Path, page: str) -> Path:
    """Write the page whole or not at all."""
    return write_text(path, page)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header) if any(header) else ""
    body = "\n".join(_row(row) for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _row(cells: Sequence[str], css_class: str = "") -> str:
    opening = f'<tr class="{css_class}">' if css_class else "<tr>"
    return opening + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _goal_table(goals: Sequence[JudgedGoal]) -> str:
    classes = {True: "met", False: "missed", None: ""}
    head = "".join(f"<th>{escape(cell)}</th>" for cell in GOAL_HEADER)
    body = "\n".join(_row(goal_cells(goal), classes[goal.met]) for goal in goals)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _folded(table: str, rows: int) -> str:
    if rows < FOLDED_FROM_ROWS:
        return table
    return f"<details><summary>{rows} rows</summary>{table}</details>"
