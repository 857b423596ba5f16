"""The table that a scan writes: one CSV row a recording, on disk as soon as it is known, resumable after any end.

    with ScoreTable(Path("scores.csv"), identity={"model_version": "1"}) as table:
        "a.wav" in table.done       # whether its row is already there
        table.write(row)

A row that was torn by a crash is cut off when the table is opened again. Beside the table lies `NAME.meta.json`
with what its rows have in common, so that a table is never continued with another model.
"""

import csv
import fcntl
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import BinaryIO, Self

from earwitness.errors import OutputError
from earwitness.path_set import ENCODING_ERRORS, PathSet

DECIMALS = 6


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One recording; None is written as nothing. `abstention` holds reasons and `error` `code: message`."""

    path: str
    sha256: str | None = None
    duration_s: float | None = None
    score: float | None = None
    llr: float | None = None
    p_fake: float | None = None
    verdict: str | None = None
    abstention: str | None = None
    error: str | None = None


SQL_TYPES = {
    "path": "VARCHAR",
    "sha256": "VARCHAR",
    "duration_s": "DOUBLE",
    "score": "DOUBLE",
    "llr": "DOUBLE",
    "p_fake": "DOUBLE",
    "verdict": "VARCHAR",
    "abstention": "VARCHAR",
    "error": "VARCHAR",
}
"""For the table as a Parquet file."""
COLUMNS = tuple(column.name for column in fields(ScoreRow))
HEADER = ",".join(COLUMNS).encode() + b"\n"


class ScoreTable:
    """Opens or continues a table; use it as a context manager."""

    def __init__(self, path: Path, identity: Mapping[str, str]) -> None:
        """Raises OutputError where the table can't be written, another scan writes it, or it was made under another
        `identity`."""
        self._path = path
        self.done = PathSet()
        if path.exists() and not path.is_file():
            raise OutputError(f"can't write {path}: it is no regular file, and a table must be readable again")
        try:
            self._file: BinaryIO = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        except OSError as error:
            raise OutputError(f"can't write {path}: {error.strerror}") from error
        try:
            self._keep_others_out()
            self._check_identity(identity)
            self._continue()
        except OSError as error:
            self._file.close()
            raise OutputError(f"can't write {path}: {error.strerror}") from error
        except OutputError:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, row: ScoreRow) -> None:
        """Append one row; it has left this process when this returns."""
        self._append([_cell(value) for value in astuple(row)])
        self.done.add(row.path)

    def close(self) -> None:
        try:
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise OutputError(f"can't write {self._path}: {error.strerror}") from error

    def _append(self, cells: list[str]) -> None:
        line = io.StringIO()
        # Python's writer leaves a bare carriage return unquoted, and its reader takes it for the end of the row.
        if any("\r" in cell for cell in cells):
            csv.writer(line, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(cells)
        else:
            csv.writer(line, lineterminator="\n").writerow(cells)
        try:
            self._file.write(line.getvalue().encode("utf-8", ENCODING_ERRORS))
            self._file.flush()
        except OSError as error:
            raise OutputError(f"can't write {self._path}: {error.strerror}") from error

    def _keep_others_out(self) -> None:
        """Until the file is closed. Two scans that write one table would tear each other's rows."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"another scan is writing {self._path}: wait for it, or name another --out"
            ) from error

    def _check_identity(self, identity: Mapping[str, str]) -> None:
        meta = self._path.with_name(self._path.name + ".meta.json")
        if meta.exists() and os.fstat(self._file.fileno()).st_size:
            if meta.read_text(encoding="utf-8") != _as_json(identity):
                raise OutputError(
                    f"{self._path} was begun with another model or prior ({meta.name} says which): "
                    "name another --out, or delete both to start anew"
                )
            return
        unfinished = meta.with_name(meta.name + ".part")
        unfinished.write_text(_as_json(identity), encoding="utf-8")
        unfinished.replace(meta)

    def _continue(self) -> None:
        """Read what is there, cut off what is torn, and stand at the end."""
        end = 0
        for cells, row_end in _complete_rows(self._file):
            if end == 0 and tuple(cells) != COLUMNS:
                raise OutputError(f"{self._path} is there and no score table: name another --out")
            if len(cells) != len(COLUMNS):
                raise OutputError(
                    f"{self._path} was changed: the row of {cells[:1]} has {len(cells)} cells; mend it"
                )
            if end:
                self.done.add(cells[0])
            end = row_end
        self._file.seek(end)
        if end == 0 and not HEADER.startswith(self._file.read()):
            raise OutputError(f"{self._path} is there and no score table: name another --out")
        self._file.seek(end)
        self._file.truncate()
        if end == 0:
            self._append(list(COLUMNS))


def _complete_rows(file: BinaryIO) -> Iterator[tuple[list[str], int]]:
    """Rows that are whole, each with the position of its end. A line break between quotes ends no row."""
    file.seek(0)
    held, end = b"", 0
    for line in file:
        held += line
        if held.count(b'"') % 2 or not held.endswith(b"\n"):
            continue
        end += len(held)
        cells = next(csv.reader(io.StringIO(held.decode("utf-8", ENCODING_ERRORS), newline="")))
        held = b""
        yield cells, end


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.{DECIMALS}f}"


def _as_json(identity: Mapping[str, str]) -> str:
    return json.dumps(dict(identity), indent=1, sort_keys=True) + "\n"
