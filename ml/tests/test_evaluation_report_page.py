"""The page: whole, self-contained, escaped, the same every time."""

import re
import xml.etree.ElementTree as ET
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from earwitness.policy import Thresholds
from ml.evaluation.figures import det_figure, histogram_figure, reliability_figure, roc_figure, to_svg
from ml.evaluation.page import report_page, write_page
from ml.evaluation.scores import EvaluationInputError
from ml.evaluation.summary import summarise
from ml.evaluation.summary_goals import judge_goals
from ml.tests.score_tables import make_table, replaced

NASTY = '<script>alert("x")</script>'
TABLE = replaced(make_table(n=300, repos=8), language=np.full(300, NASTY))
LLR = 2 * TABLE.score
THRESHOLDS = Thresholds(0.2, 0.9)
SUMMARY = summarise(TABLE, LLR, THRESHOLDS, seed=0, llr_origin="the true line", resamples=20)
GOALS = judge_goals(SUMMARY)


def page() -> str:
    return report_page(
        SUMMARY, GOALS, TABLE, LLR, title="Detector & co", provenance={"model": "m-1", "data": NASTY}
    )


PAGE = page()


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.identifiers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href"):
                self.references.append(value or "")
            if name == "id":
                self.identifiers.append(value or "")


def parsed() -> Elements:
    elements = Elements()
    elements.feed(PAGE)
    return elements


def test_the_page_has_its_four_plots_and_no_script() -> None:
    tags = parsed().tags
    assert tags.count("svg") == 4
    assert "script" not in tags
    assert "link" not in tags


def test_the_page_refers_to_nothing_outside_itself() -> None:
    elements = parsed()
    assert all(reference.startswith("#") for reference in elements.references)
    assert "default-src 'none'" in PAGE
    assert "@import" not in PAGE


def test_every_reference_in_a_plot_finds_its_own_plots_element() -> None:
    elements = parsed()
    assert len(elements.identifiers) == len(set(elements.identifiers))
    used = {reference[1:] for reference in elements.references} | set(re.findall(r"url\(#([^)]+)\)", PAGE))
    assert used
    assert used <= set(elements.identifiers)


def test_names_from_the_data_are_escaped() -> None:
    assert NASTY not in PAGE
    assert "&lt;script&gt;" in PAGE
    assert "Detector &amp; co" in PAGE


def test_goals_figures_and_tables_are_in_the_page() -> None:
    for goal in GOALS:
        assert escape(goal.what) in PAGE
    for word in ("vocoder", "By condition", "minDCF", "not measured"):
        assert word in PAGE


def test_the_same_input_gives_the_same_bytes() -> None:
    assert page() == PAGE


def test_every_plot_is_well_formed() -> None:
    figures = [roc_figure(TABLE), det_figure(TABLE), reliability_figure(TABLE, LLR)]
    for figure in [*figures, histogram_figure(TABLE, LLR, THRESHOLDS)]:
        ET.fromstring(to_svg(figure, "plot"))


def test_equal_scores_and_perfect_separation_can_be_drawn() -> None:
    for score in (np.zeros(300), np.where(TABLE.is_spoof, 5.0, -5.0)):
        table = replaced(TABLE, score=score)
        for figure in (roc_figure(table), det_figure(table), histogram_figure(table, score, THRESHOLDS)):
            assert to_svg(figure, "edge").startswith("<svg")


def test_the_page_is_written_whole(tmp_path: Path) -> None:
    assert write_page(tmp_path / "out" / "report.html", PAGE).read_text(encoding="utf-8") == PAGE


def test_llrs_of_another_table_are_refused() -> None:
    with pytest.raises(EvaluationInputError, match="llrs"):
        report_page(SUMMARY, GOALS, TABLE, LLR[1:], title="", provenance={})
