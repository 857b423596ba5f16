from pathlib import Path

import pytest

from ml.datasets.download import LOCK_NAME, Archive, DownloadOptions, Trust, download_archives, read_lock
from ml.datasets.errors import ArchiveError, ChecksumError, DownloadError
from ml.tests.corpus_server import Site, serve
from ml.tests.miniatures import checksums, zipped

ARCHIVE = Archive("a.zip", "https://example.invalid/a.zip", "all")


@pytest.fixture
def site(tmp_path: Path):  # type: ignore[no-untyped-def]
    folder = tmp_path / "site"
    folder.mkdir()
    zipped(folder / "a.zip", {"corpus/list.txt": b"one"})
    with serve(folder) as running:
        yield running


def run(site: Site, root: Path, archive: Archive = ARCHIVE, **checks: str) -> None:
    options = DownloadOptions(site.url, checksums=checks, progress=False, retry_wait_s=0.0)
    download_archives((archive,), root, options, ("all",))


def test_published_checksum_is_noted_as_such(site: Site, tmp_path: Path) -> None:
    published = checksums(site.folder)["a.zip"]
    run(site, tmp_path / "c", Archive("a.zip", ARCHIVE.url, "all", published))
    entry = read_lock(tmp_path / "c")["a.zip"]
    assert (entry.checksum, entry.trust, entry.done) == (published, Trust.PUBLISHED, True)
    assert entry.url == f"{site.url}/a.zip"


def test_given_checksum_is_stronger_than_the_published_one(site: Site, tmp_path: Path) -> None:
    download_archives(
        (Archive("a.zip", ARCHIVE.url, "all", "md5:" + "0" * 32),),
        tmp_path / "c",
        DownloadOptions(site.url, checksums=checksums(site.folder), progress=False),
        ("all",),
    )
    assert read_lock(tmp_path / "c")["a.zip"].trust is Trust.GIVEN


def test_given_checksum_need_not_be_given_again(site: Site, tmp_path: Path) -> None:
    archives = (Archive("a.zip", ARCHIVE.url, "all", "md5:" + "0" * 32),)
    root = tmp_path / "c"
    options = DownloadOptions(site.url, checksums=checksums(site.folder), progress=False)
    download_archives(archives, root, options, ("all",))
    site.requests.clear()
    download_archives(archives, root, DownloadOptions(site.url, progress=False), ("all",))
    assert site.requests == []


def test_changed_checksum_brings_the_archive_again(site: Site, tmp_path: Path) -> None:
    root = tmp_path / "c"
    run(site, root)
    zipped(site.folder / "a.zip", {"corpus/list.txt": b"two"})
    download_archives(
        (ARCHIVE,),
        root,
        DownloadOptions(site.url, checksums=checksums(site.folder), progress=False),
        ("all",),
    )
    assert (root / "corpus/list.txt").read_bytes() == b"two"


def test_page_in_place_of_an_unvouched_archive_is_not_kept(site: Site, tmp_path: Path) -> None:
    (site.folder / "a.zip").write_bytes(b"<html>Please log in</html>")
    with pytest.raises(ArchiveError, match="is damaged"):
        run(site, tmp_path / "c")
    assert [path for path in (tmp_path / "c").rglob("*") if path.is_file()] == []
    zipped(site.folder / "a.zip", {"corpus/list.txt": b"one"})
    run(site, tmp_path / "c")
    assert (tmp_path / "c/corpus/list.txt").read_bytes() == b"one"


def test_archive_that_was_put_there_by_hand_is_used(site: Site, tmp_path: Path) -> None:
    root = tmp_path / "c"
    (root / "archives").mkdir(parents=True)
    zipped(root / "archives" / "a.zip", {"corpus/list.txt": b"by hand"})
    run(site, root)
    assert site.requests == []
    assert (root / "corpus/list.txt").read_bytes() == b"by hand"


def test_wrong_checksum_leaves_no_entry(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ChecksumError):
        run(site, tmp_path / "c", Archive("a.zip", ARCHIVE.url, "all", "md5:" + "0" * 32))
    assert read_lock(tmp_path / "c") == {}


def test_damaged_lock_is_named(site: Site, tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text('{"a.zip": {"url": 1}}')
    with pytest.raises(DownloadError, match=rf"{LOCK_NAME} is damaged"):
        run(site, tmp_path)


def test_a_checksum_for_no_file_of_the_corpus_is_refused(site: Site, tmp_path: Path) -> None:
    with pytest.raises(
        DownloadError, match=r"given for b\.zip, which is no file of this corpus: there are a\.zip"
    ):
        run(site, tmp_path / "c", ARCHIVE, **{"b.zip": "md5:" + "0" * 32})
    assert site.requests == []
