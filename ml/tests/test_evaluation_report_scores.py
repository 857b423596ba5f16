"""The score table and its file."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from ml.evaluation.scores import COLUMNS, EvaluationInputError, ScoreTable, read_scores, write_scores
from ml.tests.score_tables import make_table, replaced


def test_a_table_comes_back_bit_for_bit(tmp_path: Path) -> None:
    table = make_table(n=50)
    back = read_scores(write_scores(tmp_path / "deep" / "scores.csv", table))
    for f in fields(ScoreTable):
        assert np.array_equal(getattr(back, f.name), getattr(table, f.name)), f.name


def test_odd_names_come_back_as_they_were(tmp_path: Path) -> None:
    table = make_table(n=3)
    odd = replaced(table, system=np.array(['a,"b"', "zwei\nZeilen", "ünïcode 音"]))
    assert read_scores(write_scores(tmp_path / "s.csv", odd)).system.tolist() == odd.system.tolist()


def test_an_empty_table_comes_back_empty(tmp_path: Path) -> None:
    table = make_table(n=5).select(np.zeros(5, dtype=bool))
    assert len(read_scores(write_scores(tmp_path / "s.csv", table))) == 0


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = write_scores(tmp_path / "s.csv", make_table(n=4))
    before = path.read_bytes()
    lone_surrogate = replaced(make_table(n=4), clip=np.array(["a", "b", "c", "\ud800"]))
    with pytest.raises(UnicodeEncodeError):
        write_scores(path, lone_surrogate)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["s.csv"]


def test_select_keeps_the_rows_of_a_mask_in_order() -> None:
    table = make_table(n=10)
    picked = table.select(table.is_spoof)
    assert picked.clip.tolist() == [c for c, s in zip(table.clip, table.is_spoof, strict=True) if s]


HEADER = ",".join(COLUMNS)
ROW = "a.flac,1.5,spoof,tts,s,l,en,o/r,clean,3.0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line must be"),
        ("score,label\n1,spoof\n", "the first line must be"),
        (f"{HEADER}\n{ROW.replace('spoof', 'fake')}\n", "2: label must be bonafide or spoof"),
        (f"{HEADER}\n{ROW.replace('1.5', 'high')}\n", "2: score is not a number"),
        (f"{HEADER}\n{ROW.replace('1.5', 'nan')}\n", "not finite"),
        (f"{HEADER}\n{ROW.replace('3.0', '-1')}\n", "duration_s"),
        (f"{HEADER}\n{ROW},extra\n", "2: needs 10 cells"),
        (f"{HEADER}\na.flac,1.5\n", "2: needs 10 cells"),
    ],
)
def test_a_damaged_file_is_a_clear_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "s.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(EvaluationInputError, match=message):
        read_scores(path)


def test_a_missing_and_a_binary_file_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(EvaluationInputError, match="no such score table"):
        read_scores(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00clip")
    with pytest.raises(EvaluationInputError, match="UTF-8"):
        read_scores(tmp_path / "b.csv")


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(EvaluationInputError, match="differ in length"):
        replaced(make_table(n=5), score=np.zeros(4))
