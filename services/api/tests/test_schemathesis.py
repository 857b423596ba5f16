"""The running service does what its OpenAPI document says, whatever Schemathesis thinks of: all checks, all phases.

Schemathesis runs as its own command, the way that a reader would run it; schemathesis.toml beside this file says
what the document can't.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


def run_schemathesis(url: str, folder: Path, max_examples: int) -> None:
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "--config-file", str(HERE / "schemathesis.toml"),
        "run", f"{url}/openapi.json",
        "--checks", "all",
        "--max-examples", str(max_examples),
        "--no-color",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def url(service_process: Any) -> str:
    started: str = service_process.start().url
    return started


def test_all_checks_hold(url: str, tmp_path: Path) -> None:
    run_schemathesis(url, tmp_path, max_examples=3)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_all_checks_hold_for_many_examples(url: str, tmp_path: Path) -> None:
    run_schemathesis(url, tmp_path, max_examples=200)
