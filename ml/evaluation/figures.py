"""The report's plots, each a matplotlib Figure made without a display and without global state.

    svg = to_svg(det_figure(table))

Which rows to plot is the caller's choice; text and tables around the plots are in `page`.
"""

import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from earwitness.policy import Thresholds
from ml.evaluation.calibrate_folds import probability
from ml.evaluation.metrics import ErrorCurve, error_curve
from ml.evaluation.metrics_calibration import reliability
from ml.evaluation.scores import BoolArray, FloatArray, ScoreTable

SIZE_IN = (5.2, 4.4)
WIDE_SIZE_IN = (10.6, 4.0)

BONAFIDE_COLOUR, SPOOF_COLOUR = "#0072b2", "#d55e00"
LINE_COLOURS = ("#000000", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe & Ito's palette, told apart by colour-blind readers too."""

DET_TICKS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
DET_LIMITS = (0.0008, 0.92)
HISTOGRAM_BINS = 50

POOLED = "all kinds"


def roc_figure(table: ScoreTable) -> Figure:
    """Receiver operating characteristic, pooled and for each kind of spoof against all bona fide."""
    figure, axes = _square()
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linestyle=":", linewidth=1)
    for (name, curve), colour in zip(_curves(table), LINE_COLOURS, strict=False):
        axes.plot(curve.bonafide_rejected, 1.0 - curve.spoof_accepted, label=name, color=colour, linewidth=1.4)
    axes.set(
        xlabel="bona fide called spoof",
        ylabel="spoof detected",
        title="ROC",
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
    )
    axes.legend(loc="lower right", fontsize=8)
    return figure


def det_figure(table: ScoreTable) -> Figure:
    """Detection error trade-off on normal-deviate axes (Martin et al., 1997): Gaussian scores give a line."""
    figure, axes = _square()
    low, high = (float(norm.ppf(limit)) for limit in DET_LIMITS)
    axes.plot([low, high], [low, high], color="#bbbbbb", linestyle=":", linewidth=1, label="equal errors")
    for (name, curve), colour in zip(_curves(table), LINE_COLOURS, strict=False):
        # Rates of 0 and 1 lie at infinity: they are drawn at the rim.
        x = norm.ppf(np.clip(curve.bonafide_rejected, DET_LIMITS[0], DET_LIMITS[1]))
        y = norm.ppf(np.clip(curve.spoof_accepted, DET_LIMITS[0], DET_LIMITS[1]))
        axes.plot(x, y, label=name, color=colour, linewidth=1.4, drawstyle="steps-post")
    ticks = norm.ppf(DET_TICKS)
    labels = [f"{100 * tick:g}" for tick in DET_TICKS]
    axes.set_xticks(ticks, labels, fontsize=8)
    axes.set_yticks(ticks, labels, fontsize=8)
    axes.set(
        xlabel="bona fide called spoof, %",
        ylabel="spoof called bona fide, %",
        title="DET",
        xlim=(low, high),
        ylim=(low, high),
        aspect="equal",
    )
    axes.legend(loc="upper right", fontsize=8)
    return figure


def histogram_figure(table: ScoreTable, llr: FloatArray, thresholds: Thresholds) -> Figure:
    """Raw scores, and the llrs made from them with the band between the thresholds."""
    figure = Figure(figsize=WIDE_SIZE_IN, layout="constrained")
    before, after = figure.subplots(1, 2)
    _histogram(before, table.score, table.is_spoof, "before calibration", "score (raw logit)")
    _histogram(after, llr, table.is_spoof, "after calibration", "llr (natural log)")
    low, high = (float(np.log(t / (1 - t))) for t in (thresholds.t_low, thresholds.t_high))
    after.axvspan(low, high, color="#999999", alpha=0.25, label="SUSPICIOUS", linewidth=0)
    # Capped llrs pile up at both ends: inside the axes a legend would hide them.
    handles, labels = after.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    return figure


def reliability_figure(table: ScoreTable, llr: FloatArray) -> Figure:
    """Stated probability against observed share, classes weighed alike, before and after calibration."""
    figure, axes = _square()
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linestyle=":", linewidth=1, label="perfect")
    for name, ratio, colour, marker in (
        ("before", table.score, LINE_COLOURS[5], "s"),
        ("after", llr, LINE_COLOURS[3], "o"),
    ):
        found = reliability(probability(ratio), table.is_spoof)
        axes.plot(found.mean_p_fake, found.share_spoof, color=colour, marker=marker, markersize=4, label=name)
    axes.set(
        xlabel="p_fake stated",
        ylabel="share of spoof observed",
        title="Reliability",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        aspect="equal",
    )
    axes.legend(loc="upper left", fontsize=8)
    return figure


def to_svg(figure: Figure, name: str) -> str:
    """An <svg> element to put into a page: letters as outlines, the same bytes every time.

    `name` tells the identifiers of one plot from those of another in the same page.
    """
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    element = text[text.index("<svg") :]
    for before_identifier in ('id="', 'href="#', "url(#"):
        element = element.replace(before_identifier, before_identifier + name + "-")
    return element


def _square() -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE_IN, layout="constrained")
    axes = figure.subplots()
    axes.grid(color="#eeeeee")
    axes.set_axisbelow(True)
    return figure, axes


def _curves(table: ScoreTable) -> Sequence[tuple[str, ErrorCurve]]:
    found = [(POOLED, error_curve(table.score, table.is_spoof))]
    for kind in np.unique(table.kind[table.is_spoof]):
        rows = ~table.is_spoof | (table.kind == kind)
        found.append((str(kind), error_curve(table.score[rows], table.is_spoof[rows])))
    return found


def _histogram(axes: Axes, values: FloatArray, is_spoof: BoolArray, title: str, label: str) -> None:
    edges = np.linspace(values.min(), values.max(), HISTOGRAM_BINS + 1)
    if edges[0] == edges[-1]:
        edges = edges[0] + np.linspace(-0.5, 0.5, HISTOGRAM_BINS + 1)
    for name, rows, colour in (("bona fide", ~is_spoof, BONAFIDE_COLOUR), ("spoof", is_spoof, SPOOF_COLOUR)):
        weights = np.full(int(rows.sum()), 1.0 / rows.sum())
        axes.hist(values[rows], bins=list(edges), weights=weights, color=colour, alpha=0.55, label=name)
    axes.set(title=title, xlabel=label, ylabel="share of the class")
