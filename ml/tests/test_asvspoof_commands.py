"""The commands of docs/datasets.md, as they stand there, on a miniature of ASVspoof 2019 LA served over HTTP."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from earwitness.model_spec import load_spec
from ml.tests import miniatures
from ml.tests.corpus_server import serve

pytestmark = pytest.mark.pipeline

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENT = ROOT / "ml" / "experiments" / "asvspoof2019.toml"
DOCUMENT = ROOT / "docs" / "datasets.md"
# The committed experiment, but a network and a schedule that toy speech needs and no more.
SHORT = """
[model]
channels = [4, 8, 12, 16]
blocks = [1, 1, 1, 1]
embedding = 16

[augment]
untouched = 0.9

[train]
max_steps = 120
batch_size = 12
learning_rate = 5e-3
warmup_steps = 5
ema_decay = 0.8
evaluate_every = 120
loader_workers = 0
threads = 1
"""


def documented() -> list[str]:
    """The lines of the section's shell blocks."""
    section = DOCUMENT.read_text().partition("## From ASVspoof 2019 to a detector")[2].partition("\n## ")[0]
    return [line for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What `make` needs of a clone, with the interpreter of this test in the place of the environment's."""
    folder = tmp_path / "clone"
    (folder / "ml" / "experiments").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    short = EXPERIMENT.read_text().partition("[train]")[0] + SHORT
    (folder / "ml" / "experiments" / "asvspoof2019.toml").write_text(short)
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    for stamp in (".run", ".dev"):  # younger than what they are made from: nothing is installed
        (folder / ".venv" / stamp).touch()
    return folder


@pytest.mark.timeout(900)  # nine processes, each of which loads PyTorch
def test_the_documented_commands_lead_from_a_corpus_to_a_shipped_and_reported_detector(
    checkout: Path, tmp_path: Path
) -> None:
    site_folder = tmp_path / "site"
    site_folder.mkdir()
    miniatures.asvspoof2019_la_speech(site_folder)
    with serve(site_folder) as site:
        script = "\n".join(
            f"{line} --base-url {site.url}" if " download " in line else line for line in documented()
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            ["sh", "-ec", script], cwd=checkout, env=environment, check=False, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    run = checkout / "runs" / "asvspoof2019-seed1"
    spec = load_spec(run / "models" / "latest.onnx")
    assert spec.training["experiment"] == "asvspoof2019"
    assert spec.evaluation["spoof"] == 24
    assert "held out of training" in spec.thresholds_chosen
    report = json.loads((run / "evaluation" / "eval.json").read_text())
    assert 0.0 <= report["summary"]["min_tdcf_2019"] < 1.0
    seen, unseen = report["summary"]["seen_lineages"], report["summary"]["unseen_lineages"]
    assert (len(seen), len(unseen)) == (4, 2), "two of the six attacks were held out of training"
    assert (run / "evaluation" / "eval.html").stat().st_size > 10_000
    assert not (checkout / "models").exists(), "the shipped model is not replaced"
