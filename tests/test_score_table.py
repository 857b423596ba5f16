import csv
import os
import resource
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earwitness.errors import OutputError
from earwitness.score_table import COLUMNS, ScoreRow, ScoreTable

MODEL = {"model_version": "1"}
FULL = ScoreRow("a.wav", "0" * 64, 4.0, 1.5, -0.25, 0.1234567, "SUSPICIOUS", "too_short", "x: y, z")


def write(path: Path, *rows: ScoreRow) -> None:
    with ScoreTable(path, MODEL) as table:
        for row in rows:
            table.write(row)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def test_the_columns_are_the_published_ones() -> None:
    assert ",".join(COLUMNS) == "path,sha256,duration_s,score,llr,p_fake,verdict,abstention,error"


def test_a_row(tmp_path: Path) -> None:
    write(tmp_path / "s.csv", FULL, ScoreRow("b.wav"))
    first, second = read(tmp_path / "s.csv")
    assert list(first.values()) == [
        "a.wav", "0" * 64, "4.000000", "1.500000", "-0.250000", "0.123457", "SUSPICIOUS", "too_short", "x: y, z",
    ]  # fmt: skip
    assert list(second.values()) == ["b.wav", *[""] * 8]


def test_a_row_is_on_disk_as_soon_as_it_is_written(tmp_path: Path) -> None:
    with ScoreTable(tmp_path / "s.csv", MODEL) as table:
        table.write(FULL)
        assert len(read(tmp_path / "s.csv")) == 1


NAMES = [
    "a.wav",
    'quo"te.wav',
    "com,ma.wav",
    "line\nbreak.wav",
    "ünï.wav",
    os.fsdecode(b"latin-\xe9.wav"),
    "\r.wav",
]


def test_strange_names_come_back(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    write(path, *[ScoreRow(name) for name in NAMES])
    with ScoreTable(path, MODEL) as table:
        assert len(table.done) == len(NAMES) and all(name in table.done for name in NAMES)


@given(cut=st.integers(0, 10_000))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_torn_anywhere_it_is_mended(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "s.csv"
    path.unlink(missing_ok=True)
    rows = [ScoreRow(name, error="torn: somewhere") for name in NAMES]
    write(path, *rows)
    whole = path.read_bytes()
    path.write_bytes(whole[: cut % len(whole)])

    with ScoreTable(path, MODEL) as table:
        assert len(table.done) == sum(name in table.done for name in NAMES)
        for row in rows:
            if row.path not in table.done:
                table.write(row)

    assert path.read_bytes() == whole


def test_another_model_is_not_mixed_in(tmp_path: Path) -> None:
    write(tmp_path / "s.csv", FULL)
    with pytest.raises(OutputError, match="another model"):
        ScoreTable(tmp_path / "s.csv", {"model_version": "2"})


@pytest.mark.parametrize(
    "content", ["name,age\nAda,36\n", "just some text that somebody wrote, without any end" * 3]
)
def test_a_file_that_is_no_score_table_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "s.csv"
    path.write_text(content)
    with pytest.raises(OutputError, match="no score table"):
        ScoreTable(path, MODEL)
    assert path.read_text() == content


def test_a_table_that_somebody_changed_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    write(path, FULL, ScoreRow("b.wav"))
    changed = path.read_bytes().replace(b"b.wav,", b"b.wav,my note,")
    path.write_bytes(changed)
    with pytest.raises(OutputError, match="was changed"):
        ScoreTable(path, MODEL)
    assert path.read_bytes() == changed


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="can't write"):
        ScoreTable(tmp_path / "none" / "s.csv", MODEL)


@pytest.mark.parametrize("name", ["/dev/null", "/dev/full", "."])
def test_what_is_no_regular_file_is_refused(name: str) -> None:
    with pytest.raises(OutputError, match="no regular file"):
        ScoreTable(Path(name), MODEL)


def test_a_full_disk(tmp_path: Path) -> None:
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    with ScoreTable(tmp_path / "s.csv", MODEL) as table:
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (100, unlimited[1])
        )  # to the program the same: no more is written
        try:
            with pytest.raises(OutputError, match="can't write"):
                for _ in range(10):
                    table.write(FULL)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    with ScoreTable(tmp_path / "s.csv", MODEL) as mended:
        assert len(mended.done) == ("a.wav" in mended.done)


def test_two_scans_do_not_write_one_table(tmp_path: Path) -> None:
    with ScoreTable(tmp_path / "s.csv", MODEL) as first:
        with pytest.raises(OutputError, match="another scan is writing"):
            ScoreTable(tmp_path / "s.csv", MODEL)
        first.write(FULL)
    write(tmp_path / "s.csv", ScoreRow("b.wav"))
    assert [row["path"] for row in read(tmp_path / "s.csv")] == ["a.wav", "b.wav"]
