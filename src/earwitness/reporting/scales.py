"""The figures that are not over time: signals beside their usual ranges, the likelihood ratio, the robustness panel.

Each takes plain values of the report and returns one SVG element.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from earwitness.reporting.svg import AMBER, BLUE, GREY, INK, PALE, RED, Drawing
from earwitness.reporting.tables import ratio_figure

WIDTH = 680.0
ROW = 17.0
NAMES = 250.0  # room for titles on the left
EDGE = 10.0
RATIO_HEIGHT = 68.0
LARGEST_LOG10 = 6.0  # where the verbal scale ends


def ranges_svg(signals: Sequence[Mapping[str, Any]]) -> str:
    """A row a signal: the middle 90 % of human and of synthetic speech as bars, the recording's value as a line.

    Each row has its own scale; only signals with a value and usual ranges are drawn. Raises ValueError without any.
    """
    shown = [signal for signal in signals if can_be_drawn(signal)]
    if not shown:
        raise ValueError("no signal has usual ranges to draw")
    drawing = Drawing(WIDTH, ROW * (len(shown) + 1) + 4)
    for x, colour, words in ((NAMES, BLUE, "human"), (NAMES + 70, RED, "synthetic")):
        drawing.rect(x, 4, 12, 6, fill=colour, opacity=0.6)
        drawing.text(x + 16, 11, words, fill=GREY)
    drawing.line(NAMES + 168, 2, NAMES + 168, 12, stroke=INK, width=2)
    drawing.text(NAMES + 174, 11, "this recording", fill=GREY)
    for index, signal in enumerate(shown):
        _range_row(drawing, ROW * (index + 1), signal)
    return drawing.render("Signals of this recording beside the middle 90 % of human and of synthetic speech")


def can_be_drawn(signal: Mapping[str, Any]) -> bool:
    """With a value, both ranges, and some width in one of them: a row of points says nothing."""
    human, synthetic = signal["human"], signal["synthetic"]
    if signal["value"] is None or not human or not synthetic:
        return False
    return bool(human["low"] < human["high"] or synthetic["low"] < synthetic["high"])


def _range_row(drawing: Drawing, y: float, signal: Mapping[str, Any]) -> None:
    human, synthetic, value = signal["human"], signal["synthetic"], float(signal["value"])
    low = min(float(human["low"]), float(synthetic["low"]), value)
    high = max(float(human["high"]), float(synthetic["high"]), value)
    room = WIDTH - NAMES - 2 * EDGE

    def place(at: float) -> float:
        return NAMES + EDGE + (room * (at - low) / (high - low) if high > low else room / 2)

    drawing.line(0, y, WIDTH, y, stroke=PALE, width=0.4)
    drawing.text(0, y + 12, str(signal["title"]))
    for offset, colour, usual in ((4.0, BLUE, human), (9.5, RED, synthetic)):
        left, right = place(usual["low"]), place(usual["high"])
        drawing.rect(left, y + offset, max(right - left, 1.0), 4, fill=colour, opacity=0.6)
        drawing.line(
            place(usual["median"]), y + offset, place(usual["median"]), y + offset + 4, stroke=colour, width=2
        )
    drawing.line(place(value), y + 2, place(value), y + ROW - 2, stroke=INK, width=2)


def ratio_svg(block: Mapping[str, Any]) -> str:
    """log10 of the likelihood ratio on the verbal scale, with the caps that the calibration set sets."""
    drawing = Drawing(WIDTH, RATIO_HEIGHT)
    axis, reach = 44.0, _reach(block)

    def place(log10_lr: float) -> float:
        return WIDTH / 2 + (WIDTH / 2 - 40) * max(min(log10_lr, reach), -reach) / reach

    low, high = float(block["llr_min"]) / math.log(10), float(block["llr_max"]) / math.log(10)
    drawing.rect(place(low), axis - 8, place(high) - place(low), 16, fill=AMBER, opacity=0.18)
    for cap in (low, high):
        drawing.line(place(cap), axis - 8, place(cap), axis + 8, stroke=AMBER, width=1.5)
    drawing.line(place(-reach), axis, place(reach), axis, stroke=INK)
    for step in range(-int(reach), int(reach) + 1):
        drawing.line(place(step), axis - 3, place(step), axis + 3, stroke=INK)
        drawing.text(place(step), axis + 20, _power(step), anchor="middle", fill=GREY)
    drawing.text(40, 12, "human speech as recorded", fill=BLUE)
    drawing.text(WIDTH - 40, 12, "made or altered by a machine", anchor="end", fill=RED)
    at = place(float(block["log10_lr"]))
    drawing.polygon([(at, axis - 4), (at - 6, axis - 16), (at + 6, axis - 16)], fill=INK)
    drawing.text(at, axis - 20, f"LR {ratio_figure(float(block['lr']))}", anchor="middle")
    return drawing.render(
        "The likelihood ratio on a logarithmic scale, with the limits set by the calibration set"
    )


def panel_svg(panel: Mapping[str, Any], llr_min: float, llr_max: float) -> str:
    """The llr under each condition as a dot, the unaltered recording as a line."""
    trials = [panel["unaltered"], *panel["trials"]]
    drawing = Drawing(WIDTH, ROW * (len(trials) + 1) + 6)
    room = WIDTH - NAMES - 2 * EDGE
    low, high = min(llr_min, float(panel["llr_low"])), max(llr_max, float(panel["llr_high"]))

    def place(llr: float) -> float:
        return NAMES + EDGE + room * (llr - low) / (high - low)

    bottom = ROW * len(trials)
    base = float(panel["unaltered"]["llr"])
    drawing.line(place(base), 2, place(base), bottom, stroke=BLUE, dashed=True)
    for index, trial in enumerate(trials):
        y = ROW * index + ROW / 2
        drawing.line(NAMES + EDGE, y, NAMES + EDGE + room, y, stroke=PALE, width=0.4)
        drawing.text(0, y + 3.5, str(trial["title"]).capitalize() if index == 0 else str(trial["title"]))
        drawing.dot(place(float(trial["llr"])), y, 4, fill=RED if trial["flipped"] else BLUE)
    drawing.line(NAMES + EDGE, bottom, NAMES + EDGE + room, bottom, stroke=INK)
    for tick in range(math.ceil(low), math.floor(high) + 1):
        drawing.line(place(tick), bottom, place(tick), bottom + 3, stroke=INK)
        drawing.text(place(tick), bottom + 14, f"{tick:+d}" if tick else "0", anchor="middle", fill=GREY)
    drawing.text(NAMES, bottom + 14, "llr", anchor="end", fill=GREY)
    return drawing.render("The log-likelihood ratio under each condition; red where the verdict changed")


def _reach(block: Mapping[str, Any]) -> float:
    """Whole powers of ten to show on both sides: a little beyond the caps, at most the verbal scale."""
    largest = max(abs(float(block["llr_min"])), abs(float(block["llr_max"]))) / math.log(10)
    return float(min(max(math.ceil(largest), 2), LARGEST_LOG10))


def _power(step: int) -> str:
    return "1" if step == 0 else f"{10**step:,}" if step > 0 else f"1/{10**-step:,}"
