import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ml.datasets.archives import unpack
from ml.datasets.errors import ArchiveError
from ml.tests.miniatures import tarred, zipped


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz"])
def test_tree_is_unpacked_as_it_was(tmp_path: Path, name: str) -> None:
    tree = {"LA/flac/a.flac": b"sound", "LA/list.txt": b"a"}
    modes = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz", ".tar": "w"}
    path = tmp_path / name
    if path.suffix == ".zip":
        zipped(path, tree)
    else:
        tarred(path, tree, modes[path.suffix])
    assert unpack(path, tmp_path / "out") == 2
    assert names(tmp_path / "out") == set(tree)
    assert (tmp_path / "out/LA/flac/a.flac").read_bytes() == b"sound"


def test_several_archives_fill_one_folder(tmp_path: Path) -> None:
    for part, file in (("1.tar", "flac_T/a.flac"), ("2.tar", "flac_T/b.flac")):
        tarred(tmp_path / part, {file: b"sound"}, "w")
        unpack(tmp_path / part, tmp_path / "out")
    assert names(tmp_path / "out") == {"flac_T/a.flac", "flac_T/b.flac"}


ESCAPES = ["../evil.txt", "/evil.txt", "LA/../../evil.txt", "C:/evil.txt", "..\\evil.txt"]


@pytest.mark.parametrize("member", ESCAPES)
@pytest.mark.parametrize(("name", "pack"), [("a.zip", zipped), ("a.tar.gz", tarred)])
def test_member_outside_the_folder_is_refused(
    tmp_path: Path, name: str, pack: Callable[[Path, dict[str, bytes]], None], member: str
) -> None:
    archive = tmp_path / "deep" / "in" / name
    archive.parent.mkdir(parents=True)
    pack(archive, {"good.txt": b"good", member: b"evil"})
    with pytest.raises(ArchiveError, match="outside the folder; the archive is not safe"):
        unpack(archive, tmp_path / "deep" / "in" / "out")
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {name}


def link_in_tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("link")
        member.type = tarfile.SYMTYPE
        member.linkname = "/etc/passwd"
        archive.addfile(member)


def link_in_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        member = zipfile.ZipInfo("link")
        member.external_attr = 0o120777 << 16
        archive.writestr(member, "/etc/passwd")


@pytest.mark.parametrize(("name", "pack"), [("a.zip", link_in_zip), ("a.tar", link_in_tar)])
def test_links_are_refused(tmp_path: Path, name: str, pack: Callable[[Path], None]) -> None:
    pack(tmp_path / name)
    with pytest.raises(ArchiveError, match="link is a link"):
        unpack(tmp_path / name, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("name", "pack"), [("a.zip", zipped), ("a.tar.gz", tarred), ("a.tar.bz2", tarred)])
def test_damaged_archive_leaves_nothing(
    tmp_path: Path, name: str, pack: Callable[[Path, dict[str, bytes]], None]
) -> None:
    whole = tmp_path / name
    pack(whole, {f"{number}.flac": bytes([number]) * 20_000 for number in range(20)})
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) // 2])
    with pytest.raises(ArchiveError, match=r"is damaged .*download it again"):
        unpack(whole, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    stale = tmp_path / "out" / ".unpacking-a.zip-killed"
    stale.mkdir(parents=True)
    (stale / "half.flac").write_bytes(b"half")
    zipped(tmp_path / "a.zip", {"whole.flac": b"whole"})
    unpack(tmp_path / "a.zip", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["whole.flac"]


def test_member_with_flipped_bytes_leaves_nothing(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    zipped(archive, {"first.txt": b"first", "second.txt": b"x" * 1000})
    content = bytearray(archive.read_bytes())
    content[content.index(b"x" * 1000) + 500] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(ArchiveError, match="is damaged"):
        unpack(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_kind_that_python_can_not_unpack_is_explained(tmp_path: Path) -> None:
    (tmp_path / "a.7z").write_bytes(b"7z\xbc\xaf\x27\x1c")
    with pytest.raises(ArchiveError, match="`7z x`"):
        unpack(tmp_path / "a.7z", tmp_path / "out")


def test_page_instead_of_an_archive_is_damage(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(io.BytesIO(b"<html>Please log in</html>").read())
    with pytest.raises(ArchiveError, match="is damaged"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
