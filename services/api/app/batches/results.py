"""A batch's results as JSON lines, CSV or Parquet, a page of rows at a time: a million are never held.

for block in written(database, batch_id, Format.CSV): ...      # bytes
"""

import csv
import io
import json
import tempfile
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from app.batches import repository
from app.batches.models import Batch, BatchStatus, ItemState
from app.batches.repository import ResultRow
from app.database import Database
from app.errors import NotAcceptableError
from app.evidence.store import READ_BLOCK_BYTES
from earwitness.parquet import write_parquet

ROWS_A_PAGE = 1_000
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What Excel and LibreOffice begin to reckon at, in quoted cells too."""
NUMBERS = ("duration_s", "confidence", "p_fake", "llr", "score")
WHOLE_NUMBERS = ("position", "processing_ms")
SQL_TYPES = {
    name: "DOUBLE" if name in NUMBERS else "BIGINT" if name in WHOLE_NUMBERS else "VARCHAR"
    for name in ResultRow._fields
}


class Format(StrEnum):
    """Media types."""

    LINES = "application/x-ndjson"
    CSV = "text/csv"
    PARQUET = "application/vnd.apache.parquet"


EXTENSIONS = {Format.LINES: "ndjson", Format.CSV: "csv", Format.PARQUET: "parquet"}
ANY = {
    "*/*": Format.LINES,
    "application/*": Format.LINES,
    "text/*": Format.CSV,
    **{one.value: one for one in Format},
}


def negotiated(accept: str) -> Format:
    """The first range of the Accept header that fits. Raises NotAcceptableError."""
    ranges = [part.split(";")[0].strip().lower() for part in accept.split(",")]
    for name in ranges:
        if name in ANY:
            return ANY[name]
    if not any(ranges):  # an empty header allows anything, as none does
        return Format.LINES
    raise NotAcceptableError(f"results are given as {', '.join(one.value for one in Format)}")


def written(database: Database, batch: Batch, form: Format) -> Iterator[bytes]:
    """What is known now; items that have not ended are among the rows, with their state."""
    match form:
        case Format.LINES:
            yield from _lines(database, batch)
        case Format.CSV:
            yield from _csv(database, batch)
        case Format.PARQUET:
            yield from _parquet(database, batch)


def _pages(database: Database, batch: Batch) -> Iterator[Sequence[dict[str, Any]]]:
    position = 0
    while True:
        with database.read() as session:
            rows = repository.results(session, batch.id, from_position=position, limit=ROWS_A_PAGE)
        if not rows:
            return
        yield [_plain(row, cancelled=batch.status is BatchStatus.CANCELLED) for row in rows]
        position = rows[-1].position + 1


def _plain(row: ResultRow, *, cancelled: bool) -> dict[str, Any]:
    values: dict[str, Any] = row._asdict()
    for name in ("analysis_id", "run_id"):
        values[name] = None if values[name] is None else str(values[name])
    if cancelled and row.state == ItemState.WAITING:
        values["state"] = ItemState.CANCELLED.value
    return values


def _lines(database: Database, batch: Batch) -> Iterator[bytes]:
    for page in _pages(database, batch):
        yield "".join(json.dumps(row) + "\n" for row in page).encode()


def _spreadsheet_safe(cell: Any) -> Any:
    """Text that a spreadsheet would take for a formula, behind an apostrophe: file names come from anybody."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell


def _csv(database: Database, batch: Batch, *, for_people: bool = True) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(ResultRow._fields)
    for page in _pages(database, batch):
        for row in page:
            cells = {**row, "abstentions": " ".join(row["abstentions"]) if row["abstentions"] else None}
            writer.writerow(map(_spreadsheet_safe, cells.values()) if for_people else cells.values())
        yield text.getvalue().encode("utf-8", "backslashreplace")
        text.seek(0)
        text.truncate()
    yield text.getvalue().encode()


def _parquet(database: Database, batch: Batch) -> Iterator[bytes]:
    with tempfile.TemporaryDirectory(prefix="earwitness-results-") as folder:
        table, out = Path(folder) / "results.csv", Path(folder) / "results.parquet"
        with table.open("wb") as file:
            file.writelines(_csv(database, batch, for_people=False))
        write_parquet(table, out, columns=SQL_TYPES, notes={"batch_id": str(batch.id)})
        with out.open("rb") as file:
            while block := file.read(READ_BLOCK_BYTES):
                yield block
