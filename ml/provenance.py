"""What a second researcher needs to repeat a run: seeds set, versions and revisions written down."""

import os
import platform
import random
import subprocess
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

LIBRARIES = ("torch", "numpy", "scipy", "av", "onnxruntime", "onnx", "scikit-learn", "earwitness")
REPOSITORY = Path(__file__).resolve().parents[1]


def seed_everything(seed: int, threads: int) -> None:
    """Seed every generator in use and ask PyTorch for repeatable arithmetic.

    Sums depend on how they are split over threads, so equal results need an equal `threads`.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it CUDA's products can't be repeated
    random.seed(seed)
    np.random.seed(seed % 2**32)  # some libraries draw from the global state
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=True)


def git_revision() -> str:
    """The commit of the working tree, `-dirty` appended where tracked files differ; `unknown` outside git."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty"],  # noqa: S607  # git is found by PATH
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def library_versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def machine() -> str:
    """The processor in words, for figures that depend on it."""
    cpuinfo = Path("/proc/cpuinfo")
    model = platform.processor() or platform.machine()
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{model}, {torch.get_num_threads()} threads, {accelerator}"
