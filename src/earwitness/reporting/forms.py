"""The forms in which a report is issued, and how one is written to a file: whole or not at all.

form = form_of(Path("out.pdf"))             # Form.PDF
write_report(Path("out.pdf"), render(report, outline, form))
"""

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from earwitness.errors import OutputError, ReportError
from earwitness.reporting.contents import report_bytes
from earwitness.reporting.document import compose
from earwitness.reporting.html import render_html
from earwitness.reporting.outline import Outline


class Form(StrEnum):
    """By media type."""

    JSON = "application/json"
    PDF = "application/pdf"
    HTML = "text/html"


SUFFIXES = {".json": Form.JSON, ".pdf": Form.PDF, ".html": Form.HTML, ".htm": Form.HTML}


def form_of(path: Path) -> Form:
    """By the name's ending. Raises OutputError for another one."""
    form = SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise OutputError(f"a report is a .pdf, .html or .json file, not {path.name}: choose one of these endings")
    return form


def render(report: Mapping[str, Any], outline: Outline | None, form: Form) -> bytes:
    """The report in `form`. Raises ReportError where the PDF's typesetter or fonts are not installed."""
    match form:
        case Form.JSON:
            return report_bytes(report)
        case Form.HTML:
            return render_html(compose(report, outline), report).encode(errors="backslashreplace")
        case Form.PDF:
            return _pdf(report, outline)


def _pdf(report: Mapping[str, Any], outline: Outline | None) -> bytes:
    try:  # the typesetter and the fonts, 100 MB, come with an extra that only this form needs
        from earwitness.reporting.pdf import render_pdf  # noqa: PLC0415
    except ImportError as error:
        raise ReportError(f"{error.name} is not installed: pip install 'earwitness[report]'") from error
    return render_pdf(compose(report, outline), report)


def write_report(path: Path, data: bytes) -> None:
    """Under a temporary name first, so that a broken write leaves no half report. Raises OutputError."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise OutputError(f"the report {path} can't be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
