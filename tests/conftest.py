"""What several of the library's tests need: a toy model and recordings made by arithmetic."""

from pathlib import Path

import pytest

from earwitness.scorer import Scorer, load_scorer
from tests.toy_model import write_toy_model


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph of a small real model, its spec beside it; shared, so not to be written to."""
    return write_toy_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def toy_scorer(toy_model: Path) -> Scorer:
    return load_scorer(toy_model)
