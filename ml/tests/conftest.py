"""What several tests of the pipeline share: a toy corpus, and an experiment on it that trains in seconds."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ml.config import Experiment, load_experiment
from ml.datasets.toy import make_toy_corpus
from ml.models import encoders
from ml.models.recogniser import Encoder

NEW_TABLE = "\n["
LISTENER = "blocks = 1\nhidden = 8\nheads = 2\nchannels = 60\nembedding = 12\nframe_width = 8\n"
SMOKE = Path(__file__).parents[1] / "experiments" / "smoke.toml"


@pytest.fixture(scope="session")
def toy_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy_corpus(tmp_path_factory.mktemp("toy"), clips=240, seed=1)


@pytest.fixture(scope="session")
def smoke_experiment(toy_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    overrides = {"data.manifest": str(toy_manifest), "data.cache_dir": str(tmp_path_factory.mktemp("cache"))}
    return load_experiment(SMOKE, overrides)


@pytest.fixture(scope="session")
def published_encoder() -> bytes:
    """A graph as that of the encoder that is borrowed, with random weights."""
    from ml.tests.test_recogniser import Published

    torch.manual_seed(3)
    tiny = encoders.BORROWED["tiny"]
    return Published(
        {k: 0.1 * torch.randn_like(v) for k, v in Encoder(tiny, tiny.blocks, tiny.hidden).state_dict().items()}
    ).whole()


@pytest.fixture
def listener_config(
    published_encoder: bytes, toy_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The smoke experiment with heads on a recogniser's layers, whose weights lie in its cache as if fetched."""
    cache = tmp_path / "cache"
    cache.mkdir()
    sha256 = hashlib.sha256(published_encoder).hexdigest()
    tiny = encoders.BORROWED["tiny"]
    monkeypatch.setitem(
        encoders.BORROWED, "tiny", replace(tiny, weights=(replace(tiny.weights[0], sha256=sha256),))
    )
    (cache / f"published-{sha256[:16]}.pt").write_bytes(published_encoder)
    text = SMOKE.read_text().replace("runs/smoke/cache", str(cache))
    text = text.replace("runs/smoke/toy/manifest.csv", str(toy_manifest))
    # How a whole network is trained is no matter of heads, and refused there.
    text = re.sub(
        r"^(batch_size|learning_rate|warmup_steps|ema_decay|frequency_mask_bins) = .*\n", "", text, flags=re.M
    )
    before, rest = text.split("[model]")
    path = tmp_path / "listener.toml"
    begin = before.replace('architecture = "seresnet"', 'architecture = "recogniser"')
    path.write_text(f"{begin}[model]\n{LISTENER}\n{rest[rest.index(NEW_TABLE) :]}")
    return path
