from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ml.datasets.errors import ManifestError
from ml.datasets.manifest import COLUMNS, Clip, Kind, Label, manifest_sha256, read_manifest, write_manifest

HEADER = ",".join(COLUMNS)
ROW = "audio/a.flac,spoof,tts,vits,vits,unknown,ljspeech,someone/demo,en,3.000,16000,flac,train,mine,22050"


def clip(path: Path, **changes: object) -> Clip:
    base = Clip(
        path, Label.SPOOF, Kind.TTS, "vits", "vits", "unknown", "ljspeech", "someone/demo", "en", 3.0, 16000,
        "flac", "train", "mine", 22050,
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    clips = [
        clip(tmp_path / "audio" / "a, with comma.flac"),
        clip(
            tmp_path.parent / "elsewhere" / "b.flac",
            label=Label.BONAFIDE, kind=Kind.HUMAN, system="human", lineage="human", source_rate_hz=None,
        ),
    ]  # fmt: skip
    assert read_manifest(write_manifest(tmp_path / "m.csv", clips)) == clips


def test_a_mark_of_byte_order_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(f"\ufeff{HEADER}\n{ROW}\n", encoding="utf-8")
    assert [c.path for c in read_manifest(path)] == [tmp_path / "audio" / "a.flac"]


def test_paths_inside_are_relative_and_others_absolute(tmp_path: Path) -> None:
    elsewhere = tmp_path.parent / "b.flac"
    path = write_manifest(tmp_path / "m.csv", [clip(tmp_path / "audio" / "a.flac"), clip(elsewhere)])
    assert [line.split(",")[0] for line in path.read_text().splitlines()[1:]] == ["audio/a.flac", str(elsewhere)]


def test_manifest_moves_with_its_folder(tmp_path: Path) -> None:
    write_manifest(tmp_path / "old" / "m.csv", [clip(tmp_path / "old" / "a.flac")])
    (tmp_path / "old").rename(tmp_path / "new")
    assert [c.path for c in read_manifest(tmp_path / "new" / "m.csv")] == [tmp_path / "new" / "a.flac"]


def test_source_rate_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(f"{HEADER.removesuffix(',source_rate_hz')}\n{ROW.removesuffix(',22050')}\n")
    assert read_manifest(path)[0].source_rate_hz is None


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(",".join(reversed(HEADER.split(","))) + "\n" + ",".join(reversed(ROW.split(","))) + "\n")
    assert read_manifest(path) == [clip(tmp_path / "audio" / "a.flac")]


def field(name: str, value: str) -> str:
    fields = ROW.split(",")
    fields[COLUMNS.index(name)] = value
    return ",".join(fields)


BAD = {
    "unknown label": ([field("label", "fake")], r"m\.csv:2: unknown label 'fake'; known are bonafide, spoof"),
    "unknown kind": ([ROW, field("kind", "magic")], r"m\.csv:3: unknown kind 'magic'"),
    "label against kind": ([field("label", "bonafide")], r":2: label bonafide contradicts kind tts"),
    "no number": ([field("duration_s", "long")], r":2: duration_s must be a number, not 'long'"),
    "not finite": ([field("duration_s", "nan")], r":2: duration_s must be finite and above zero"),
    "zero length": ([field("duration_s", "0")], r":2: duration_s must be finite and above zero"),
    "broken rate": ([field("sample_rate_hz", "16000.5")], r":2: sample_rate_hz must be a whole number"),
    "empty field": ([field("speaker", "")], r":2: speaker must not be empty; write `unknown`"),
    "too few fields": (["audio/a.flac,spoof"], r":2: more or fewer fields than the header"),
    "too many fields": ([ROW + ",more"], r":2: more or fewer fields than the header"),
    "one path twice": ([ROW, ROW], r":3: audio/a\.flac is already on line 2"),
}


@pytest.mark.parametrize("what", sorted(BAD))
def test_bad_row_is_refused_with_its_line(tmp_path: Path, what: str) -> None:
    rows, message = BAD[what]
    (tmp_path / "m.csv").write_text("\n".join((HEADER, *rows)) + "\n")
    with pytest.raises(ManifestError, match=message):
        read_manifest(tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "m.csv: empty; the first line must name the columns"),
        (b"path,label\n", "m.csv:1: missing columns kind, system"),
        (f"{HEADER},colour\n".encode(), "m.csv:1: unknown columns colour"),
        (b"\xff\xfe\x00p", "m.csv: not a CSV file in UTF-8"),
    ],
)
def test_file_that_is_no_manifest_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        read_manifest(tmp_path / "m.csv")


def test_missing_manifest_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="prepare"):
        read_manifest(tmp_path / "none.csv")


def test_interrupted_writing_leaves_the_old_manifest(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "m.csv", [clip(tmp_path / "a.flac")])
    before = path.read_bytes()

    def clips_that_fail() -> Iterator[Clip]:
        yield clip(tmp_path / "b.flac")
        raise RuntimeError("the disk went away")

    with pytest.raises(RuntimeError):
        write_manifest(path, clips_that_fail())
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["m.csv"]


def test_hash_follows_the_content(tmp_path: Path) -> None:
    first = manifest_sha256(write_manifest(tmp_path / "1.csv", [clip(tmp_path / "a.flac")]))
    same = manifest_sha256(write_manifest(tmp_path / "2.csv", [clip(tmp_path / "a.flac")]))
    other = manifest_sha256(write_manifest(tmp_path / "3.csv", [clip(tmp_path / "b.flac")]))
    assert first == same != other
