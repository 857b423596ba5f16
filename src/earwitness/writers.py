"""A finding as text for a terminal and as one line of JSON. Nothing here judges or reads recordings."""

import json
from dataclasses import dataclass
from typing import Any

from earwitness.detector import DetectorOutput
from earwitness.errors import EarwitnessError
from earwitness.explain import clock, percent
from earwitness.finding import WindowScore
from earwitness.output_json import output_as_dict
from earwitness.reporting.characters import visible

BAR_WIDTH = 20
MAX_TIMELINE_ROWS = 40  # a screen; longer recordings show their most suspicious windows


@dataclass(frozen=True, slots=True)
class AnalysedFile:
    name: str
    sha256: str
    size_bytes: int
    processing_ms: float
    output: DetectorOutput


def as_text(analysed: AnalysedFile) -> str:
    """Several lines for a reader: verdict first, then figures, sentences and the timeline."""
    output = analysed.output
    lines = [
        visible(analysed.name),
        f"  verdict      {output.verdict.value}{_in_brackets(output)}",
        *(f"               {sentence}" for sentence in output.explanations),
        f"  score        {_figure(output.score)}   llr {_figure(output.llr)}   (higher = more likely synthetic)",
        f"  media        {_media(output)}",
        f"  sha256       {analysed.sha256}",
        f"  model        {output.model_version}, took {analysed.processing_ms / 1000:.2f} s",
        *(f"  warning      {warning}" for warning in output.warnings),
    ]
    if output.windows and output.p_fake is not None:
        lines += _timeline(output.windows)
    return "\n".join(lines)


def as_json_line(analysed: AnalysedFile) -> str:
    return _line(
        {
            "file": analysed.name,
            "sha256": analysed.sha256,
            "size_bytes": analysed.size_bytes,
            "processing_ms": round(analysed.processing_ms, 3),
            **output_as_dict(analysed.output),
            "error": None,
        }
    )


def error_as_json_line(name: str | None, error: EarwitnessError) -> str:
    return _line({"file": name, "error": {"code": error.code, "message": str(error)}})


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False)


def _in_brackets(output: DetectorOutput) -> str:
    if output.p_fake is None:
        return f"   (not judged: {', '.join(reason.value for reason in output.abstentions)})"
    return f"   p_fake {percent(output.p_fake)}   confidence {percent(output.confidence)}"


def _media(output: DetectorOutput) -> str:
    media = output.media
    if media is None:
        return "unknown"
    if media.codec is None:
        return f"{media.container}, no audio track"
    length = "" if output.duration_s is None else f", {clock(output.duration_s)}"
    channels = "1 channel" if media.channels == 1 else f"{media.channels} channels"
    return f"{media.container}, {media.codec}, {media.sample_rate_hz} Hz, {channels}{length}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:+z.3f}"


def _timeline(windows: tuple[WindowScore, ...]) -> list[str]:
    shown = windows
    title = "  timeline     each window's p_fake"
    if len(windows) > MAX_TIMELINE_ROWS:
        worst = sorted(windows, key=lambda window: -window.score)[:MAX_TIMELINE_ROWS]
        shown = tuple(sorted(worst, key=lambda window: window.start_s))
        title = (
            f"  timeline     the {MAX_TIMELINE_ROWS} most suspicious of {len(windows)} windows (--json has all)"
        )
    rows = [
        f"    {clock(window.start_s):>12} - {clock(window.end_s):<12} "
        f"{'#' * round(window.p_fake * BAR_WIDTH):<{BAR_WIDTH}} {percent(window.p_fake):>12}"
        f"{'' if window.speech_share > 0 else '   no speech'}"
        for window in shown
        if window.p_fake is not None
    ]
    return [title, *rows]
