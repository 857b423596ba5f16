import os
from pathlib import Path

import pytest

from earwitness.errors import MediaNotFoundError, UnreadableMediaError
from earwitness.sources import count_recordings, each_recording


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(*named: Path) -> list[str]:
    return [path.name for path in each_recording(named)]


def test_a_folder_gives_its_recordings_sorted_and_nothing_else(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b.wav",
        "a.MP3",
        "deep/er/c.opus",
        "notes.txt",
        "table.csv",
        "picture.png",
        ".hidden/d.wav",
        ".e.wav",
    )
    assert found(tmp_path) == ["a.MP3", "b.wav", "c.opus"]


def test_a_file_named_outright_is_taken_whatever_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "blob")
    assert found(tmp_path / "blob") == ["blob"]


def test_recordings_come_in_the_order_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav")
    named = [tmp_path / "b.wav", tmp_path, tmp_path / "a.wav"]
    assert found(*named) == ["b.wav", "a.wav", "b.wav", "a.wav"]
    assert count_recordings(named) == 4


def test_a_link_to_a_folder_leads_nowhere(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.wav")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in", target_is_directory=True)
    assert found(tmp_path) == ["a.wav"]


@pytest.mark.parametrize("column", ["file", "path"])
def test_a_table_gives_its_column(tmp_path: Path, column: str) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"label,{column}\nspoof,sub/a.wav\nspoof,\nbonafide,b.wav\n", encoding="utf-8-sig")
    assert list(each_recording([manifest])) == [tmp_path / "sub/a.wav", tmp_path / "b.wav"]


def test_a_list_gives_its_lines(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("a.wav\n\n  b.wav\n/abs/c.wav\n")
    assert list(each_recording([tmp_path / "m.txt"])) == [
        tmp_path / "a.wav",
        tmp_path / "b.wav",
        Path("/abs/c.wav"),
    ]


def test_a_name_where_nothing_is_raises(tmp_path: Path) -> None:
    with pytest.raises(MediaNotFoundError, match="check the path"):
        count_recordings([tmp_path / "none"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", b"label,name\n1,2\n", "no column `path` or `file`"),
        ("m.csv", b"", "no column"),
        ("m.csv", b"\xff\xfe\x00\x01", "no CSV text in UTF-8"),
        ("m.txt", b"\xff\xfe\x00\x01", "no text in UTF-8"),
    ],
)
def test_a_manifest_that_is_none_is_told(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableMediaError, match=message):
        count_recordings([tmp_path / name])


@pytest.mark.parametrize("name", ["list.txt", "list.csv"])
def test_a_list_that_is_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(UnreadableMediaError, match="no regular file"):
        found(tmp_path / name)
