"""A document as PDF/A-3b, the report's JSON attached; set by Typst (a wheel, no system package).

    data = render_pdf(document, report)

Text goes to the typesetter as data and never as markup. The same document and report give the same bytes.
"""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from importlib import resources
from typing import Any

import typst

from earwitness.errors import ReportError
from earwitness.reporting.blocks import Document
from earwitness.reporting.contents import report_bytes
from earwitness.reporting.fonts import FAMILIES, MONOSPACED, font_folders, printable

TEMPLATE = "reporting/report.typ"
PDF_STANDARD = "a-3b"
ATTACHMENT = "report.json"
LINE_COLUMNS = 80  # Latin letters of the header's size beside its right-hand text


def render_pdf(document: Document, report: Mapping[str, Any]) -> bytes:
    """Raises ReportError where the fonts are missing or the typesetter refuses the document."""
    made_at = datetime.fromisoformat(str(report["generated_at"])).replace(microsecond=0)
    files = {
        "main.typ": resources.files("earwitness").joinpath(TEMPLATE).read_bytes(),
        "document.json": json.dumps(_plain(document, made_at), ensure_ascii=False, allow_nan=False).encode(),
        ATTACHMENT: report_bytes(report),
    }
    try:
        made = typst.compile(
            files,  # type: ignore[call-overload]  # its stubs lack the mapping of names to contents that its docs have
            font_paths=_fonts(),
            ignore_system_fonts=True,
            pdf_standards=PDF_STANDARD,
            timestamp=made_at,
        )
    except typst.TypstError as error:
        raise ReportError(f"the PDF could not be set: {error}") from error
    assert isinstance(made, bytes)
    return made


@lru_cache(maxsize=1)
def _fonts() -> typst.Fonts:
    """Only the fonts that ship: what a system has would change the pages from machine to machine."""
    folders = [str(folder) for folder in font_folders()]
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=folders)


def _plain(document: Document, made_at: datetime) -> dict[str, Any]:
    """JSON values with printable texts; each block says its kind."""
    return {
        "title": printable(document.title),
        "subtitle": printable(document.subtitle),
        "header": one_line(printable(document.subtitle)),
        "footer": one_line(printable(document.footer)),
        "made": {"year": made_at.year, "month": made_at.month, "day": made_at.day},
        "fonts": list(FAMILIES),
        "mono": [MONOSPACED, *FAMILIES],
        "attachment": ATTACHMENT,
        "sections": [
            {
                "title": printable(section.title),
                "blocks": [
                    {"kind": type(block).__name__.lower(), **_printable(asdict(block))} for block in section.blocks
                ],
            }
            for section in document.sections
        ],
    }


def one_line(text: str) -> str:
    """`text` cut to what fits in a page's header or footer; wide characters count twice."""
    columns = 0
    for index, char in enumerate(text):
        columns += 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if columns > LINE_COLUMNS:
            return f"{text[:index]}..."
    return text


def _printable(value: Any, key: str = "") -> Any:
    """Every text in `value`, drawings excepted: those hold no text of others."""
    if key == "svg":
        return value
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {name: _printable(item, name) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(item) for item in value]
    return value
