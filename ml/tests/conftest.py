"""What several tests of the pipeline share: a toy corpus, and an experiment on it that trains in seconds."""

from pathlib import Path

import pytest

from ml.config import Experiment, load_experiment
from ml.datasets.toy import make_toy_corpus

SMOKE = Path(__file__).parents[1] / "experiments" / "smoke.toml"


@pytest.fixture(scope="session")
def toy_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy_corpus(tmp_path_factory.mktemp("toy"), clips=240, seed=1)


@pytest.fixture(scope="session")
def smoke_experiment(toy_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    overrides = {"data.manifest": str(toy_manifest), "data.cache_dir": str(tmp_path_factory.mktemp("cache"))}
    return load_experiment(SMOKE, overrides)
