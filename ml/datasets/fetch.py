"""Fetch one file over HTTP, resuming where an earlier attempt stopped, and check that it is the right one.

    fetch("https://.../LA.zip", Path("data/archives/LA.zip"), "md5:...", progress=True)

pooch checks the hash and moves the file into place; `RangeDownloader` is its downloader, because pooch itself
starts again from the first byte. What has arrived lies in `<name>.part`, beside it in `<name>.part.tag` what the
server called that version of the file (ETag or Last-Modified): a changed file is fetched anew, not patched up.
"""

import errno
import http.client
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pooch
from tqdm import tqdm

from ml.datasets.errors import ChecksumError, DownloadError

CHUNK_BYTES: Final = 1 << 20
TIMEOUT_S: Final = 60.0  # silence of the server, not length of the download
ATTEMPTS: Final = 5  # a transfer of many gigabytes is cut off now and then; each attempt resumes
RETRY_WAIT_S: Final = 2.0  # doubled after each attempt: 2, 4, 8, 16 s
PASSING_STATUS: Final = frozenset({408, 429, 500, 502, 503, 504})  # worth another attempt
USER_AGENT: Final = "earwitness-datasets"


def fetch(
    url: str, path: Path, known_hash: str | None, *, progress: bool = True, retry_wait_s: float = RETRY_WAIT_S
) -> Path:
    """Make `path` the file at `url`; nothing is sent where it is already there with `known_hash`.

    `known_hash` is `md5:...` or `sha256:...`, or None to accept what comes (an existing file is then kept).
    Raises DownloadError (the `.part` is kept for the next call, unless the server refused), and ChecksumError,
    after which neither the file nor its `.part` is left.
    """
    downloader = RangeDownloader(path.with_name(path.name + ".part"), progress, retry_wait_s)
    try:
        return Path(pooch.retrieve(url, known_hash, fname=path.name, path=path.parent, downloader=downloader))
    except ValueError as e:  # pooch's word for a hash that doesn't match
        raise ChecksumError(
            f"{path.name} from {url} does not have the checksum {known_hash}. It was deleted. Try again; if that "
            f"fails too, the file was changed at its source: look there for the new checksum and give it with "
            f"--checksum {path.name}=md5:..."
        ) from e


@dataclass(frozen=True, slots=True)
class RangeDownloader:
    """A pooch downloader that keeps what it has in `part` and continues there."""

    part: Path
    progress: bool
    retry_wait_s: float

    def __call__(self, url: str, output_file: str, pooch_instance: object) -> None:  # noqa: ARG002 - pooch's interface
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._attempt(url)
                break
            except _PassingError as e:
                if attempt == ATTEMPTS:
                    raise DownloadError(
                        f"{url}: {e}, {ATTEMPTS} times. Run the same command again to continue from there"
                    ) from e
                time.sleep(self.retry_wait_s * 2 ** (attempt - 1))
        self.part.replace(output_file)
        self._tag_file.unlink(missing_ok=True)

    @property
    def _tag_file(self) -> Path:
        return self.part.with_name(self.part.name + ".tag")

    def _attempt(self, url: str) -> None:
        """One request, for what is still missing. Raises _PassingError where another attempt may do better."""
        have, tag = self._held()
        headers = {"User-Agent": USER_AGENT}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": tag}
        request = urllib.request.Request(_checked(url), headers=headers)  # noqa: S310 - the scheme was checked
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 - the same
                self._receive(response, have if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0)
        except urllib.error.HTTPError as e:
            if e.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                if e.headers.get("Content-Range") == f"bytes */{have}":
                    return  # everything was here already
                self._discard()
                raise _PassingError("the file at the source has changed") from e
            if e.code in PASSING_STATUS:
                raise _PassingError(f"the server answered {e.code} {e.reason}") from e
            raise DownloadError(
                f"{url}: the server answered {e.code} {e.reason}. If the data set has moved, give its new place "
                "with --base-url, or put the file there yourself"
            ) from e
        except (OSError, http.client.HTTPException) as e:
            if isinstance(e, OSError) and e.errno == errno.ENOSPC:
                raise DownloadError(f"{url}: the disk is full; make room and run the same command again") from e
            raise _PassingError(f"the transfer broke off ({e})") from e

    def _receive(self, response: http.client.HTTPResponse, have: int) -> None:
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        self._tag_file.write_text(tag, encoding="utf-8")
        received = have
        bar = tqdm(
            total=total,
            initial=have,
            unit="B",
            unit_scale=True,
            desc=self.part.name.removesuffix(".part"),
            disable=not self.progress,
        )
        with bar, self.part.open("ab" if have else "wb") as file:
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                received += len(chunk)
                bar.update(len(chunk))
        if total is not None and received != total:
            raise _PassingError(f"the transfer broke off after {received} of {total} bytes")

    def _held(self) -> tuple[int, str]:
        """Bytes that are here and the server's name for their version; (0, "") where they can't be continued."""
        if not (self.part.is_file() and self._tag_file.is_file()):
            return 0, ""
        tag = self._tag_file.read_text(encoding="utf-8")
        # Without a name for the version, or with a weak one, a changed file can't be told: begin again.
        if not tag or tag.startswith("W/"):
            return 0, ""
        return self.part.stat().st_size, tag

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self._tag_file.unlink(missing_ok=True)


class _PassingError(Exception):
    """Another attempt may succeed."""


def _checked(url: str) -> str:
    if not url.startswith(("https://", "http://")):
        raise DownloadError(f"{url}: only http and https are fetched")
    return url
