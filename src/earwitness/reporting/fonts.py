"""The fonts of the PDF, which come with wheels (SIL Open Font License), and what to write where they have no glyph.

    printable("記録 \\u202e.mp3")        # "記録 [U+202E].mp3"

Noto Sans for Latin, Greek, Cyrillic and Devanagari, Noto Sans Arabic, Heebo for Hebrew, Noto Sans CJK for Chinese,
Japanese and Korean. A character that none of them has, and one that has no shape of its own (controls, marks that
turn the direction of reading), is written as [U+XXXX]: a name in a report must not look like another one, and the
attached JSON has it unchanged.
"""

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fontTools.ttLib import TTFont

from earwitness.errors import ReportError
from earwitness.reporting.characters import JOINERS, is_shapeless, named


@dataclass(frozen=True, slots=True)
class FontFile:
    package: str
    """Import name of the wheel's package, whose code is never run."""
    file: str
    family: str
    number: int = 0
    """Of the font in a collection."""


FONT_FILES = (
    FontFile("fontpkg_noto_sans", "files/NotoSans[wdth,wght].ttf", "Noto Sans"),
    FontFile("fontpkg_noto_sans_arabic", "files/NotoSansArabic[wdth,wght].ttf", "Noto Sans Arabic"),
    FontFile("fontpkg_heebo", "files/Heebo[wght].ttf", "Heebo"),
    FontFile("noto_cjk_sans_otc", "NotoSansCJK-Regular.ttc", "Noto Sans CJK SC", number=2),
)
FAMILIES = tuple(font.family for font in FONT_FILES)
MONOSPACED = "Noto Sans Mono CJK SC"  # in the same collection


def font_folders() -> tuple[Path, ...]:
    """Where the files lie. Raises ReportError where a wheel is missing."""
    return tuple(dict.fromkeys(_path(font).parent for font in FONT_FILES))


def printable(text: str) -> str:
    """`text` with every character that can't be printed named by its code point; line ends become spaces."""
    return "".join(char if has_glyph(char) else named(char) for char in " ".join(text.splitlines()))


def has_glyph(char: str) -> bool:
    if is_shapeless(char):
        return False
    return char in JOINERS or any(ord(char) in _codepoints(font) for font in FONT_FILES)


@lru_cache(maxsize=len(FONT_FILES))
def _codepoints(font: FontFile) -> frozenset[int]:
    """Read once, and only when a text needs it: the large collections take a moment."""
    with TTFont(_path(font), fontNumber=font.number, lazy=True) as opened:
        return frozenset(opened.getBestCmap())


def _path(font: FontFile) -> Path:
    found = importlib.util.find_spec(font.package)
    if found is None or not found.submodule_search_locations:
        raise ReportError(f"the font package {font.package} is not installed: pip install 'earwitness[report]'")
    path = Path(found.submodule_search_locations[0]) / font.file
    if not path.is_file():
        raise ReportError(f"the font package {font.package} has no {font.file}: install the pinned version")
    return path
