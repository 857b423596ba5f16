"""The figures over time: waveform, spectrogram and score, one under the other on the same axis.

    waveform_svg(outline, marks), spectrogram_svg(outline, marks), timeline_svg(windows, thresholds, duration_s, marks)

Drawn from numbers that the report states; the marked stretches carry the numbers of its table.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from earwitness.finding import WindowScore
from earwitness.policy import Thresholds
from earwitness.reporting.outline import DYNAMIC_RANGE_DB, Outline
from earwitness.reporting.png import grey_png
from earwitness.reporting.svg import AMBER, BLUE, GREY, INK, PALE, RED, Drawing
from earwitness.waveform import SAMPLE_RATE_HZ

WIDTH, LEFT, RIGHT, TOP, AXIS = 680.0, 46.0, 8.0, 14.0, 20.0
PLOT = WIDTH - LEFT - RIGHT
WAVEFORM_HEIGHT, SPECTROGRAM_HEIGHT, TIMELINE_HEIGHT = 80.0, 130.0, 100.0
MAX_TICKS = 8
TICK_STEPS_S = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
MAX_POINTS = 600  # windows drawn one by one; of more, several share a point
MAX_FRAME_POINTS = 1_200
FAINT = "#a6a6a6"  # the frames lie behind the windows
MIN_MARK_WIDTH = 1.5  # a stretch of a second in two hours must still be seen
LABEL_ROOM = 14.0  # a number needs this much; of stretches closer together only the first is numbered


@dataclass(frozen=True, slots=True)
class Mark:
    """A stretch to point at, with its number in the report's table."""

    number: int
    start_s: float
    end_s: float


def waveform_svg(outline: Outline, marks: Sequence[Mark]) -> str:
    drawing = Drawing(WIDTH, TOP + WAVEFORM_HEIGHT + AXIS)
    middle, scale = TOP + WAVEFORM_HEIGHT / 2, WAVEFORM_HEIGHT / 2
    peak = max(float(np.abs(outline.low).max()), float(np.abs(outline.high).max()), 1e-6)
    _marks(drawing, marks, outline.duration_s, WAVEFORM_HEIGHT)
    x = LEFT + PLOT * np.minimum((np.arange(outline.low.size) + 0.5) * outline.column_s / outline.duration_s, 1.0)
    upper = [(float(at), middle - scale * float(value) / peak) for at, value in zip(x, outline.high, strict=True)]
    lower = [(float(at), middle - scale * float(value) / peak) for at, value in zip(x, outline.low, strict=True)]
    drawing.line(LEFT, middle, LEFT + PLOT, middle, stroke=PALE)
    drawing.polygon([*upper, *reversed(lower)], fill=BLUE)
    drawing.polyline(upper, stroke=BLUE, width=0.5)  # where the envelope has no height there is a line at least
    drawing.text(LEFT - 6, TOP + 9, f"{peak:.2g}", anchor="end", fill=GREY)
    drawing.text(LEFT - 6, TOP + WAVEFORM_HEIGHT, f"-{peak:.2g}", anchor="end", fill=GREY)
    _time_axis(drawing, outline.duration_s, TOP + WAVEFORM_HEIGHT)
    return drawing.render("Waveform: smallest and largest sample over time, the stretches of the table marked")


def spectrogram_svg(outline: Outline, marks: Sequence[Mark]) -> str:
    drawing = Drawing(WIDTH, TOP + SPECTROGRAM_HEIGHT + AXIS)
    grey = np.rint(-outline.spectrogram_db / DYNAMIC_RANGE_DB * 255.0).astype(np.uint8)[::-1]  # loud is dark
    width = PLOT * outline.spectrogram_s / outline.duration_s
    drawing.picture(LEFT, TOP, width, SPECTROGRAM_HEIGHT, grey_png(np.ascontiguousarray(grey)))
    drawing.rect(LEFT + PLOT, TOP, max(width - PLOT, 0.0) + RIGHT, SPECTROGRAM_HEIGHT, fill="#ffffff")
    _marks(drawing, marks, outline.duration_s, SPECTROGRAM_HEIGHT, opacity=0.08)
    for kilohertz in (0, 2, 4, 6, 8):
        y = TOP + SPECTROGRAM_HEIGHT * (1 - kilohertz * 2_000.0 / SAMPLE_RATE_HZ)
        drawing.line(LEFT - 3, y, LEFT, y, stroke=GREY)
        drawing.text(LEFT - 6, y + 3.5, f"{kilohertz} kHz", anchor="end", fill=GREY)
    _time_axis(drawing, outline.duration_s, TOP + SPECTROGRAM_HEIGHT)
    return drawing.render("Spectrogram, 0 to 8 kHz, loud is dark, the stretches of the table marked")


@dataclass(frozen=True, slots=True)
class Curve:
    """p_fake of frames at equal distances, None where nobody speaks."""

    hop_s: float
    p_fake: Sequence[float | None]


def timeline_svg(
    windows: Sequence[WindowScore],
    thresholds: Thresholds | None,
    duration_s: float,
    marks: Sequence[Mark],
    frames: Curve | None = None,
) -> str:
    """p_fake of each window over time, of many windows their mean with the extremes as a band; `frames` behind it.

    Of a recording that was judged: elsewhere windows have none.
    """
    drawing = Drawing(WIDTH, TOP + TIMELINE_HEIGHT + AXIS)
    _marks(drawing, marks, duration_s, TIMELINE_HEIGHT)

    def height(p_fake: float) -> float:
        return TOP + TIMELINE_HEIGHT * (1.0 - p_fake)

    if thresholds is not None:
        top, bottom = height(thresholds.t_high), height(thresholds.t_low)
        drawing.rect(LEFT, top, PLOT, bottom - top, fill=AMBER, opacity=0.12)
        for y in (top, bottom):
            drawing.line(LEFT, y, LEFT + PLOT, y, stroke=AMBER, dashed=True)
    for share in (0.0, 0.5, 1.0):
        drawing.line(LEFT - 3, height(share), LEFT, height(share), stroke=GREY)
        drawing.text(LEFT - 6, height(share) + 3.5, f"{share * 100:.0f} %", anchor="end", fill=GREY)
    if frames is not None:
        _frame_curve(drawing, frames, duration_s, height)
    points, low, high = _reduced(windows, duration_s)
    if len(windows) > MAX_POINTS:
        band = [*((x, height(p)) for x, p in high), *((x, height(p)) for x, p in reversed(low))]
        drawing.polygon(band, fill=BLUE, opacity=0.3)
    drawing.polyline([(x, height(p)) for x, p in points], stroke=BLUE)
    if len(windows) <= MAX_POINTS // 5:
        for x, p in points:
            drawing.dot(x, height(p), 1.8, fill=BLUE)
    _time_axis(drawing, duration_s, TOP + TIMELINE_HEIGHT)
    return drawing.render("Probability of synthesis of each window over time, the thresholds as dashed lines")


def _frame_curve(drawing: Drawing, frames: Curve, duration_s: float, height: Callable[[float], float]) -> None:
    """Thin steps, the highest of neighbouring frames where there are too many; a gap where nobody speaks."""
    size = math.ceil(len(frames.p_fake) / MAX_FRAME_POINTS)
    step: list[tuple[float, float]] = []
    for at in range(0, len(frames.p_fake), size):
        values = [value for value in frames.p_fake[at : at + size] if value is not None]
        if not values:
            drawing.polyline(step, stroke=FAINT, width=0.5)
            step = []
            continue
        for edge in (at, at + size):
            step.append((LEFT + PLOT * min(edge * frames.hop_s / duration_s, 1.0), height(max(values))))
    drawing.polyline(step, stroke=FAINT, width=0.5)


def _reduced(
    windows: Sequence[WindowScore], duration_s: float
) -> tuple[list[tuple[float, float]], list[tuple[float, float]], list[tuple[float, float]]]:
    """Mean, lowest and highest p_fake of neighbouring windows, as points (x, p_fake) of at most `MAX_POINTS`."""
    size = math.ceil(len(windows) / MAX_POINTS)
    groups = [windows[at : at + size] for at in range(0, len(windows), size)]
    middles = [(group[0].start_s + group[-1].end_s) / 2 for group in groups]
    x = [LEFT + PLOT * min(middle / duration_s, 1.0) for middle in middles]
    values = [[window.p_fake for window in group if window.p_fake is not None] for group in groups]
    return (
        [(at, sum(ps) / len(ps)) for at, ps in zip(x, values, strict=True)],
        [(at, min(ps)) for at, ps in zip(x, values, strict=True)],
        [(at, max(ps)) for at, ps in zip(x, values, strict=True)],
    )


def _marks(
    drawing: Drawing, marks: Sequence[Mark], duration_s: float, height: float, opacity: float = 0.18
) -> None:
    free_from = 0.0
    for mark in marks:
        x = LEFT + PLOT * min(mark.start_s / duration_s, 1.0)
        width = max(PLOT * (mark.end_s - mark.start_s) / duration_s, MIN_MARK_WIDTH)
        width = min(width, LEFT + PLOT - x) or MIN_MARK_WIDTH
        drawing.rect(x, TOP, width, height, fill=RED, opacity=opacity)
        drawing.rect(x, TOP - 2, width, 2, fill=RED)
        middle = x + width / 2
        if middle >= free_from:
            drawing.text(middle, TOP - 4, str(mark.number), anchor="middle", fill=RED)
            free_from = middle + LABEL_ROOM


def _time_axis(drawing: Drawing, duration_s: float, y: float) -> None:
    drawing.line(LEFT, y, LEFT + PLOT, y, stroke=INK)
    step = next((step for step in TICK_STEPS_S if duration_s / step <= MAX_TICKS), TICK_STEPS_S[-1])
    for index in range(int(duration_s / step + 1e-9) + 1):
        x = LEFT + PLOT * index * step / duration_s
        drawing.line(x, y, x, y + 3, stroke=INK)
        last = x > LEFT + PLOT - 20
        drawing.text(x, y + 14, _tick(index * step, step), anchor="end" if last else "middle", fill=GREY)


def _tick(time_s: float, step_s: float) -> str:
    """Like `3.5 s`, `1:20` (minutes) or `1:30:00` (hours), whatever the step needs."""
    if step_s < 60 and time_s < 60:
        return f"{time_s:g} s" if step_s >= 1 else f"{time_s:.2f} s".replace("0 s", " s")
    minutes, seconds = divmod(round(time_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
