import os
from pathlib import Path

import duckdb
import pytest

from earwitness import parquet
from earwitness.errors import OutputError
from earwitness.parquet import write_parquet
from earwitness.score_table import SQL_TYPES, ScoreRow, ScoreTable

IDENTITY = {"model_version": "it's 1", "prior": "0.5"}
ROWS = [
    ScoreRow("plain.wav", "a" * 64, 3.5, -1.25, -0.5, 0.377541, "AUTHENTIC"),
    ScoreRow("silent, or so.wav", "b" * 64, 9.0, verdict="SUSPICIOUS", abstention="no_speech"),
    ScoreRow("line\nbreak.wav", error='media_unreadable: "odd", it is'),
    ScoreRow("carriage\r.wav"),
    ScoreRow("ünï.wav"),
]


def table(folder: Path, *rows: ScoreRow) -> Path:
    with ScoreTable(folder / "s.csv", IDENTITY) as scores:
        for row in rows:
            scores.write(row)
    return folder / "s.csv"


def back(path: Path) -> list[ScoreRow]:
    with duckdb.connect() as connection:
        return [ScoreRow(*row) for row in connection.execute(f"SELECT * FROM '{path}'").fetchall()]


def test_rows_come_back_as_they_were_with_types_and_notes(tmp_path: Path) -> None:
    out = tmp_path / "o'ut.parquet"
    write_parquet(table(tmp_path, *ROWS), out, columns=SQL_TYPES, notes=IDENTITY)
    plain = out.rename(tmp_path / "out.parquet")
    assert back(plain) == ROWS
    with duckdb.connect() as connection:
        noted = connection.execute(f"SELECT key, value FROM parquet_kv_metadata('{plain}')").fetchall()
    assert {key.decode(): value.decode() for key, value in noted} == IDENTITY
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "s.csv", "s.csv.meta.json"]


def test_a_name_that_is_no_utf_8_is_written_with_escapes(tmp_path: Path) -> None:
    out = tmp_path / "s.parquet"
    write_parquet(table(tmp_path, ROWS[0], ScoreRow(os.fsdecode(b"\xe9.wav"))), out, columns=SQL_TYPES, notes={})
    assert [row.path for row in back(out)] == ["plain.wav", "\\udce9.wav"]
    assert not list(tmp_path.glob(".*"))


def test_what_is_there_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "s.parquet"
    scores = table(tmp_path, *ROWS)
    write_parquet(scores, out, columns=SQL_TYPES, notes={})
    before = out.read_bytes()
    scores.write_text("path,score\na.wav,not a number\n")
    with pytest.raises(OutputError, match="can't write"):
        write_parquet(scores, out, columns={"path": "VARCHAR", "score": "DOUBLE"}, notes={})
    assert out.read_bytes() == before and not list(tmp_path.glob(".*"))


def test_without_duckdb_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OutputError, match=r"earwitness\[parquet\]"):
        parquet.check_parquet()
