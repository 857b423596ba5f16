"""A table of results as a Parquet file, for whoever goes on with a million rows in pandas, Polars, Spark or SQL.

    check_parquet()                                        # OutputError where DuckDB is not installed
    write_parquet(Path("scores.csv"), Path("scores.parquet"), columns=SCORE_TYPES, notes={"model_version": "1"})

Written in one streaming pass over the finished CSV table, under another name first. Needs `earwitness[parquet]`.
"""

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path

from earwitness.errors import OutputError

MEMORY_LIMIT = "256MB"  # it needs no more for rows in their order; more rows take longer, not more memory
COPY_CHARACTERS = 1 << 20


def check_parquet() -> None:
    """Raises OutputError where Parquet can't be written: better before a long scan than after it."""
    if importlib.util.find_spec("duckdb") is None:
        raise OutputError(
            "Parquet files are written by DuckDB, which is not installed: pip install 'earwitness[parquet]'"
        )


def write_parquet(table: Path, out: Path, *, columns: Mapping[str, str], notes: Mapping[str, str]) -> None:
    """`columns` are those of the CSV `table` with their SQL types; an empty cell is null. `notes` go into the file's
    metadata. Raises OutputError.

    A name that is no UTF-8, which Parquet can't hold, stands there with backslash escapes.
    """
    check_parquet()
    import duckdb  # noqa: PLC0415  optional, and slow to import

    partial = out.with_name(f".{out.name}.part")
    types = ", ".join(f"{_quoted(name)}: {_quoted(kind)}" for name, kind in columns.items())
    metadata = ", ".join(f"{_quoted(name)}: {_quoted(value)}" for name, value in notes.items())
    try:
        with _as_utf8(table, out) as readable, duckdb.connect() as connection:
            connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
            connection.execute("SET threads = 1")
            connection.execute(
                f"COPY (SELECT * FROM read_csv({_quoted(str(readable))}, header = true, columns = {{{types}}}, "  # noqa: S608
                "delim = ',', quote = '\"', escape = '\"', nullstr = '', parallel = false, auto_detect = false)) "
                f"TO {_quoted(str(partial))} (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{metadata}}})"
            )
        partial.replace(out)
    except (duckdb.Error, OSError) as error:
        raise OutputError(f"can't write {out}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _as_utf8(table: Path, out: Path) -> Iterator[Path]:
    """The table, or a copy beside `out` in which what is no UTF-8 is escaped."""
    try:
        with table.open(encoding="utf-8", newline="") as reader:
            while reader.read(COPY_CHARACTERS):
                pass
    except UnicodeDecodeError:
        copy = out.with_name(f".{out.name}.utf8")
        try:
            with (
                table.open(encoding="utf-8", errors="surrogateescape", newline="") as reader,
                copy.open("w", encoding="utf-8", errors="backslashreplace", newline="") as writer,
            ):
                while block := reader.read(COPY_CHARACTERS):
                    writer.write(block)
            yield copy
        finally:
            copy.unlink(missing_ok=True)
    else:
        yield table


def _quoted(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"
