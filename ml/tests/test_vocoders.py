"""Neural copy-synthesis: networks that copy speech, their training, the rendered copies and their place in a batch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from earwitness.canonical import canonicalise
from ml.augment import NoiseBank, with_probabilities
from ml.augment.spectrum import rms
from ml.augment.stft import analyse
from ml.config import ConfigError, Experiment, load_experiment
from ml.datasets.manifest import Label
from ml.tests.conftest import SMOKE
from ml.tests.speechlike import speechlike
from ml.training.batches import BatchFactory
from ml.training.store import WaveformStore
from ml.training.train import split_clips
from ml.vocoders.config import VocoderConfig, VocoderTraining
from ml.vocoders.copies import REFINED_BY, Copies, copies_for, copy_by
from ml.vocoders.losses import Critic, SpectralDistance, critic_loss, deception_loss
from ml.vocoders.networks import build
from ml.vocoders.train import LEVEL_RMS, train_vocoder
from ml.wav import to_pcm16

pytestmark = pytest.mark.pipeline

TINY = (
    VocoderConfig("spectral", "spectral", (64,), channels=16, mels=20),
    VocoderConfig("upsampling", "upsampling", (8, 8), channels=16, mels=20),
    VocoderConfig("codec", "codec", (5, 4, 2), channels=16, code=6),
)
QUICK = VocoderTraining(steps=4, batch_size=2, crop_s=0.32, critic_from=0.5)


@pytest.fixture(scope="module")
def store(smoke_experiment: Experiment) -> WaveformStore:
    clips, split = split_clips(smoke_experiment)
    return WaveformStore.open_or_build([clips[i] for i in split.train], Path(smoke_experiment.data.cache_dir))


@pytest.mark.parametrize("config", TINY, ids=lambda config: config.name)
def test_a_network_gives_back_as_many_samples_as_it_takes(config: VocoderConfig) -> None:
    network = build(config)
    assert network(torch.randn(2, 7 * config.hop) * 0.1).shape == (2, 7 * config.hop)
    with pytest.raises(ValueError, match="multiple of the hop"):
        network(torch.zeros(1, config.hop + 1))


@pytest.fixture(scope="module")
def speech_store(store: WaveformStore) -> WaveformStore:
    """More to learn from than the toy corpus, whose few sounds leave it to chance what a few steps come to."""
    bonafide = next(clip for clip in store.clips if clip.label == Label.BONAFIDE)
    clips = [to_pcm16(speechlike(1.5, seed=seed)) for seed in range(10, 50)]
    offsets = np.cumsum([0, *(clip.size for clip in clips)])
    return replace(store, clips=(bonafide,) * len(clips), offsets=offsets, samples=np.concatenate(clips))


@pytest.mark.parametrize("config", TINY, ids=lambda config: config.name)
def test_training_brings_copies_nearer_to_their_originals(
    config: VocoderConfig, speech_store: WaveformStore, tmp_path: Path
) -> None:
    speech = speechlike(0.64, seed=3)
    speech *= LEVEL_RMS / rms(speech)
    original = torch.from_numpy(speech[: speech.size // config.hop * config.hop])[None]

    def distance(steps: int) -> float:
        # Without the critic, which pulls elsewhere at first: what 240 steps come to must not hang on the machine.
        settings = replace(QUICK, steps=steps, learning_rate=2e-3, batch_size=4, critic_from=1.0)
        trained = train_vocoder(config, settings, speech_store, tmp_path / f"{steps}.pt", quiet=True)
        with torch.no_grad():
            return float(SpectralDistance()(trained(original), original))

    assert distance(240) < 0.85 * distance(1)


def test_the_code_of_a_codec_has_few_values() -> None:
    network = build(TINY[2])
    code = network.encoder(torch.randn(1, 40 * 20) * 0.3)
    steps = code.detach() * (TINY[2].levels - 1) / 2
    assert torch.allclose(steps, steps.round(), atol=1e-5)
    code.sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.encoder.parameters())


def test_a_trained_vocoder_is_read_back_and_other_settings_train_anew(
    store: WaveformStore, tmp_path: Path
) -> None:
    path = tmp_path / "a.pt"
    first = train_vocoder(TINY[0], QUICK, store, path, quiet=True)
    written = path.stat().st_mtime_ns
    again = train_vocoder(TINY[0], QUICK, store, path, quiet=True)
    assert path.stat().st_mtime_ns == written
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    train_vocoder(TINY[0], replace(QUICK, seed=2), store, path, quiet=True)
    assert path.stat().st_mtime_ns != written


def test_the_critic_and_what_deceives_it_want_opposite_things() -> None:
    real, fake = [torch.ones(1, 1, 2, 2)], [torch.zeros(1, 1, 2, 2)]
    assert critic_loss(real, fake) == 0.0
    assert deception_loss(fake) == 1.0
    assert deception_loss(real) == 0.0
    assert len(Critic()(torch.randn(1, 4_000))) == 1


@pytest.mark.parametrize("config", TINY, ids=lambda config: config.name)
def test_a_copy_has_the_length_and_level_of_its_original(config: VocoderConfig) -> None:
    speech = speechlike(1.1, seed=5)
    copied = copy_by(build(config), speech, np.random.default_rng(1))
    assert copied.dtype == np.float32
    assert copied.shape == speech.shape
    assert rms(copied) == pytest.approx(rms(speech), rel=0.01)
    assert not np.allclose(copied, speech, atol=1e-3)
    silence = np.zeros(8_000, np.float32)
    assert np.array_equal(copy_by(build(config), silence, np.random.default_rng(1)), silence)


def test_some_copies_keep_the_amplitudes_of_the_original_and_none_its_phase() -> None:
    network, speech = build(TINY[0]), speechlike(1.0, seed=6)
    original = analyse(speech, *REFINED_BY)
    loud = np.abs(original) > 0.1 * np.abs(original).max()

    def found(seed: int) -> tuple[float, float]:
        copied = analyse(copy_by(network, speech, np.random.default_rng(seed)), *REFINED_BY)
        decibels = 20 * np.log10((np.abs(copied[loud]) + 1e-9) / np.abs(original[loud]))
        turn = np.angle(copied[loud] / original[loud])
        return float(np.abs(decibels).mean()), float(np.abs(np.exp(1j * turn).mean()))

    distance_db, phase_agreement = zip(*(found(seed) for seed in range(12)), strict=True)
    assert min(distance_db) < 0.6 * max(distance_db)
    assert max(phase_agreement) < 0.5


def test_every_bona_fide_clip_is_copied_by_different_vocoders_and_the_copies_are_kept(
    store: WaveformStore, tmp_path: Path
) -> None:
    vocoders = [build(TINY[0]), build(TINY[1])]
    copies = Copies.open_or_render(vocoders, store, tmp_path, per_clip=2, seed=1)
    assert len(copies.layers) == 2
    for index, clip in enumerate(store.clips):
        expected = store.waveform(index).size if clip.label == Label.BONAFIDE else 0
        first, second = copies.waveform(0, index), copies.waveform(1, index)
        assert first.size == second.size == expected
        assert expected == 0 or not np.array_equal(first, second)
    written = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    Copies.open_or_render(vocoders, store, tmp_path, per_clip=2, seed=1)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == written
    assert len(written) == 2
    Copies.open_or_render([build(TINY[0])], store, tmp_path, per_clip=2, seed=1)  # other weights, and only one
    assert len(list(tmp_path.iterdir())) == 3


def test_a_neural_copy_in_a_batch_is_of_the_same_stretch_as_its_original(
    smoke_experiment: Experiment, store: WaveformStore, tmp_path: Path
) -> None:
    experiment = replace(
        smoke_experiment,
        vocoders=TINY[:1],
        vocoder_training=QUICK,
        data=replace(smoke_experiment.data, copy_share=1.0, splice_share=0.0, neural_share=1.0),
        augment=with_probabilities(smoke_experiment.augment, untouched=1.0),
    )
    copies = copies_for(experiment, store, tmp_path, quiet=True)
    assert copies is not None
    batch = BatchFactory(experiment, store, NoiseBank(), 2_560, copies)[3]
    originals, made = batch.waveforms.chunk(2)
    canonical_copies = [
        canonicalise(copies.waveform(0, i)).samples
        for i, clip in enumerate(store.clips)
        if clip.label == Label.BONAFIDE
    ]
    assert batch.labels.tolist() == [0.0] * len(originals) + [1.0] * len(made)
    for original, copied in zip(originals.numpy(), made.numpy(), strict=True):
        assert not np.allclose(original, copied, atol=1e-3)
        assert max(_likeness(copied, whole) for whole in canonical_copies) > 0.95


def test_without_vocoders_there_are_no_copies(
    smoke_experiment: Experiment, store: WaveformStore, tmp_path: Path
) -> None:
    assert copies_for(smoke_experiment, store, tmp_path) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("vocoders", "named"),
    [
        ([{"name": "a", "kind": "wavenet", "strides": [4]}], "kind must be one of"),
        ([{"name": "a", "kind": "spectral", "strides": [4, 4]}], "one stride"),
        ([{"name": "a", "kind": "codec", "strides": [4, 4], "channels": 10}], "halved"),
        ([{"name": "a", "kind": "codec", "strides": [1]}], "2 or more"),
        ([{"name": "a", "kind": "codec", "strides": [4], "levels": 4}], "odd"),
        ([{"name": "a", "kind": "codec", "strides": [4]}] * 2, "name of its own"),
    ],
)
def test_an_impossible_vocoder_is_refused(vocoders: list[dict[str, object]], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_experiment(SMOKE, {"vocoders": vocoders})


def _likeness(part: np.ndarray, whole: np.ndarray) -> float:
    """The greatest correlation of `part` with a stretch of `whole`."""
    if whole.size < part.size:
        whole = np.tile(whole, -(-part.size // whole.size) + 1)
    size = 1 << (whole.size + part.size).bit_length()
    products = np.fft.irfft(np.fft.rfft(whole, size) * np.conj(np.fft.rfft(part, size)), size)
    products = products[: whole.size - part.size + 1]
    sums = np.cumsum(np.square(whole, dtype=np.float64))
    energy = sums[part.size - 1 :] - np.concatenate([[0.0], sums[: whole.size - part.size]])
    return float((products / np.sqrt(energy * np.square(part).sum() + 1e-12)).max())
