"""A few SVG elements as text: what the figures of a report are made of.

    drawing = Drawing(width=680, height=120)
    drawing.line(0, 60, 680, 60, stroke=GREY)
    drawing.text(4, 12, "8 kHz")
    drawing.render("Spectrogram of the recording")

Presentation attributes only, no style attributes and no scripts: a page may forbid both.
"""

from base64 import b64encode
from collections.abc import Sequence
from html import escape

FONT = "Noto Sans"
TEXT_SIZE = 10.0
INK, GREY, PALE = "#1a1a1a", "#767676", "#d9d9d9"
BLUE, RED, AMBER = "#1f4e79", "#b03a2e", "#b9770e"


class Drawing:
    """Elements in the order in which they are painted; lengths in units of which `width` span the line."""

    def __init__(self, width: float, height: float) -> None:
        self.width = width
        self.height = height
        self._parts: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, *, fill: str, opacity: float = 1.0) -> None:
        self._parts.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" fill="{fill}"{_faint(opacity)}/>'
        )

    def line(
        self, x1: float, y1: float, x2: float, y2: float, *, stroke: str, width: float = 0.8, dashed: bool = False
    ) -> None:
        dashes = ' stroke-dasharray="4 3"' if dashed else ""
        self._parts.append(
            f'<line x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}" stroke="{stroke}" '
            f'stroke-width="{_n(width)}"{dashes}/>'
        )

    def polygon(self, points: Sequence[tuple[float, float]], *, fill: str, opacity: float = 1.0) -> None:
        self._parts.append(f'<polygon points="{_points(points)}" fill="{fill}"{_faint(opacity)}/>')

    def polyline(self, points: Sequence[tuple[float, float]], *, stroke: str, width: float = 1.2) -> None:
        """Nothing for fewer than two points."""
        if len(points) < 2:
            return
        self._parts.append(
            f'<polyline points="{_points(points)}" fill="none" stroke="{stroke}" stroke-width="{_n(width)}"/>'
        )

    def dot(self, x: float, y: float, radius: float, *, fill: str) -> None:
        self._parts.append(f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}" fill="{fill}"/>')

    def text(
        self, x: float, y: float, words: str, *, anchor: str = "start", fill: str = INK, size: float = TEXT_SIZE
    ) -> None:
        self._parts.append(
            f'<text x="{_n(x)}" y="{_n(y)}" font-family="{FONT}" font-size="{_n(size)}" text-anchor="{anchor}" '
            f'fill="{fill}">{escape(words)}</text>'
        )

    def picture(self, x: float, y: float, width: float, height: float, png: bytes) -> None:
        """`png` stretched over the rectangle."""
        self._parts.append(
            f'<image x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" preserveAspectRatio="none" '
            f'href="data:image/png;base64,{b64encode(png).decode()}"/>'
        )

    def render(self, alternative: str) -> str:
        """The whole element; `alternative` tells those who can't see it what it shows."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(self.width)} {_n(self.height)}" role="img" '
            f'aria-label="{escape(alternative, quote=True)}">{"".join(self._parts)}</svg>'
        )


def _n(value: float) -> str:
    """At most two decimals: finer than any printer."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_n(x)},{_n(y)}" for x, y in points)


def _faint(opacity: float) -> str:
    return "" if opacity >= 1.0 else f' fill-opacity="{_n(opacity)}"'
