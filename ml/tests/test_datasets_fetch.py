"""Downloads over a real connection that breaks, refuses, changes or lies."""

import errno
import hashlib
from pathlib import Path

import numpy as np
import pytest

from ml.datasets.errors import ChecksumError, DownloadError
from ml.datasets.fetch import ATTEMPTS, CHUNK_BYTES, fetch
from ml.tests.corpus_server import Cut, Refuse, Request, Site, serve

CONTENT = np.random.default_rng(1).bytes(CHUNK_BYTES * 2 + 12_345)
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
NAME = "corpus.zip"
CUT = CHUNK_BYTES + 1000


@pytest.fixture
def site(tmp_path: Path):  # type: ignore[no-untyped-def]
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / NAME).write_bytes(CONTENT)
    with serve(folder) as running:
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "archives" / NAME


def get(site: Site, target: Path, known_hash: str | None = MD5) -> Path:
    return fetch(f"{site.url}/{NAME}", target, known_hash, progress=False, retry_wait_s=0.0)


def left_over(target: Path) -> set[str]:
    return {path.name for path in target.parent.iterdir()} - {NAME}


def test_file_arrives_whole_and_alone(site: Site, target: Path) -> None:
    assert get(site, target).read_bytes() == CONTENT
    assert left_over(target) == set()
    assert site.requests == [Request(NAME, None, 200)]


def test_present_file_with_the_right_hash_sends_no_request(site: Site, target: Path) -> None:
    get(site, target)
    site.requests.clear()
    get(site, target)
    assert site.requests == []


def test_broken_transfer_is_resumed_within_the_call(site: Site, target: Path) -> None:
    site.faults[NAME] = [Cut(CUT), Cut(500)]
    assert get(site, target).read_bytes() == CONTENT
    assert site.requests == [Request(NAME, None, 200), Request(NAME, CUT, 206), Request(NAME, CUT + 500, 206)]


def test_transfer_that_keeps_breaking_is_resumed_by_the_next_call(site: Site, target: Path) -> None:
    site.faults[NAME] = [Cut(1000)] * ATTEMPTS
    with pytest.raises(DownloadError, match=f"{ATTEMPTS} times. Run the same command again"):
        get(site, target)
    assert not target.exists()
    assert left_over(target) == {f"{NAME}.part", f"{NAME}.part.tag"}
    site.requests.clear()
    assert get(site, target).read_bytes() == CONTENT
    assert site.requests == [Request(NAME, 1000 * ATTEMPTS, 206)]
    assert left_over(target) == set()


def test_changed_file_is_fetched_anew_and_not_patched_together(site: Site, target: Path) -> None:
    site.faults[NAME] = [Cut(1000)] * ATTEMPTS
    with pytest.raises(DownloadError):
        get(site, target)
    changed = CONTENT[::-1]
    (site.folder / NAME).write_bytes(changed)
    site.requests.clear()
    assert get(site, target, f"md5:{hashlib.md5(changed).hexdigest()}").read_bytes() == changed
    assert site.requests == [Request(NAME, 1000 * ATTEMPTS, 200)]


@pytest.mark.parametrize("missing", ["ranges", "tags"])
def test_server_that_can_not_resume_is_asked_for_everything(site: Site, target: Path, missing: str) -> None:
    setattr(site, missing, False)
    site.faults[NAME] = [Cut(CUT)]
    assert get(site, target).read_bytes() == CONTENT
    assert [request.status for request in site.requests] == [200, 200]


def test_part_that_is_complete_already_is_taken(site: Site, target: Path) -> None:
    """The process died after the last byte and before the file was moved."""
    site.faults[NAME] = [Cut(1000)] * ATTEMPTS
    with pytest.raises(DownloadError):
        get(site, target)
    target.with_name(f"{NAME}.part").write_bytes(CONTENT)
    site.requests.clear()
    assert get(site, target).read_bytes() == CONTENT
    assert site.requests == [Request(NAME, len(CONTENT), 416)]


def test_part_that_is_too_long_is_thrown_away(site: Site, target: Path) -> None:
    site.faults[NAME] = [Cut(1000)] * ATTEMPTS
    with pytest.raises(DownloadError):
        get(site, target)
    target.with_name(f"{NAME}.part").write_bytes(CONTENT + b"more")
    assert get(site, target).read_bytes() == CONTENT


def test_wrong_checksum_leaves_nothing(site: Site, target: Path) -> None:
    with pytest.raises(ChecksumError, match=rf"{NAME} from http.* does not have the checksum md5:0+\."):
        get(site, target, "md5:" + "0" * 32)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("status", [403, 404, 410])
def test_refusal_is_final_and_leaves_nothing(site: Site, target: Path, status: int) -> None:
    site.faults[NAME] = [Refuse(status)]
    with pytest.raises(DownloadError, match=f"the server answered {status} .*--base-url"):
        get(site, target)
    assert len(site.requests) == 1
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_trouble_is_tried_again(site: Site, target: Path, status: int) -> None:
    site.faults[NAME] = [Refuse(status)]
    assert get(site, target).read_bytes() == CONTENT
    assert [request.status for request in site.requests] == [status, 200]


def test_server_that_is_not_there(tmp_path: Path) -> None:
    with serve(tmp_path) as gone:
        url = gone.url
    with pytest.raises(DownloadError, match=f"broke off .*{ATTEMPTS} times"):
        fetch(f"{url}/{NAME}", tmp_path / NAME, MD5, progress=False, retry_wait_s=0.0)
    assert list(tmp_path.iterdir()) == []


def test_other_schemes_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("not for downloading")
    with pytest.raises(DownloadError, match="only http and https"):
        fetch(secret.as_uri(), tmp_path / NAME, None, progress=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_is_said_and_not_tried_again(site: Site, target: Path) -> None:
    target.parent.mkdir()
    target.with_name(f"{NAME}.part").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match="the disk is full") as caught:
        get(site, target)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert len(site.requests) == 1
