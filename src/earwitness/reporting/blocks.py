"""What a document is made of, before anybody sets it: sections of blocks. `pdf` and `html` set each kind once.

Plain frozen values. Text is text: nothing in it is markup, whoever wrote it.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str
    note: bool = False
    """Smaller, for sources and explanations of figures."""


@dataclass(frozen=True, slots=True)
class Subheading:
    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Label and value, a row each."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    shares: tuple[float, ...]
    """Relative widths of the columns."""


@dataclass(frozen=True, slots=True)
class Figure:
    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class Callout:
    """The verdict, set so that nobody misses it."""

    headline: str
    tone: str
    """`spoof`, `bona_fide` or `neither`: which way it points."""
    text: str
    figures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """Lines for a person to fill in by hand."""

    lines: tuple[str, ...]


Block: TypeAlias = Paragraph | Subheading | Bullets | Facts | Table | Figure | Callout | Signature


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    title: str
    subtitle: str
    footer: str
    """On every page: what the page belongs to if it is torn off."""
    sections: tuple[Section, ...]
