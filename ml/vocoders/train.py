"""Training of one vocoder on the bona fide training clips of an experiment.

    train_vocoder(config, settings, store, Path("runs/vocoders/a.pt"))

A few minutes each on one core. The held-out part of the experiment is never heard.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from earwitness.waveform import sample_count
from ml.datasets.manifest import Label
from ml.provenance import seed_everything
from ml.training.store import WaveformStore
from ml.vocoders.config import VocoderConfig, VocoderTraining
from ml.vocoders.losses import Critic, SpectralDistance, critic_loss, deception_loss
from ml.vocoders.networks import Vocoder, build

LEVEL_RMS = 0.08  # every clip is brought to it: a vocoder should not have to learn loudness
QUIET_RMS = 1e-4
GRADIENT_NORM_MAX = 10.0
WAVEFORM_WEIGHT = 10.0  # of the codec's distance of samples, whose size is about a tenth of that of spectra


def train_vocoder(
    config: VocoderConfig, settings: VocoderTraining, store: WaveformStore, path: Path, *, quiet: bool = False
) -> Vocoder:
    """Trained and written to `path`, or read from there if it holds a network of these settings already."""
    of_network = {name: value for name, value in asdict(config).items() if name != "weights"}  # those of others
    asked = {"config": of_network, "settings": asdict(settings)}
    seed_everything(settings.seed, settings.threads)
    network = build(config)
    if path.exists():
        kept = torch.load(path, weights_only=True)
        if kept["asked"] == asked:
            network.load_state_dict(kept["weights"])
            return network.eval()
    critic = Critic()
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, betas=(0.8, 0.99))
    of_critic = torch.optim.AdamW(critic.parameters(), settings.learning_rate / 2, betas=(0.8, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    distance = SpectralDistance()
    human = np.array([i for i, clip in enumerate(store.clips) if clip.label == Label.BONAFIDE])
    length = sample_count(settings.crop_s) // config.hop * config.hop
    bar = tqdm(range(settings.steps), desc=config.name, disable=quiet, mininterval=5.0)
    for step in bar:
        originals = _draw(store, human, length, settings, step)
        copies = network(originals)
        loss = distance(copies, originals)
        bar.set_postfix(distance=f"{float(loss.detach()):.3f}", refresh=False)
        if config.kind == "codec":
            loss = loss + WAVEFORM_WEIGHT * F.l1_loss(copies, originals)
        if step >= settings.critic_from * settings.steps:
            of_critic.zero_grad()
            critic_loss(critic(originals), critic(copies.detach())).backward()  # type: ignore[no-untyped-call]
            of_critic.step()
            loss = loss + settings.critic_weight * deception_loss(critic(copies))
        optimiser.zero_grad()
        loss.backward()  # PyTorch leaves it unannotated
        nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM_MAX)
        optimiser.step()
        schedule.step()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    torch.save({"asked": asked, "weights": network.state_dict()}, partial)
    partial.replace(path)
    return network.eval()


def _draw(store: WaveformStore, human: np.ndarray, length: int, settings: VocoderTraining, step: int) -> Tensor:
    """(batch, length): crops of bona fide clips at one level, a function of seed and step."""
    rng = np.random.default_rng([settings.seed, step])
    crops = []
    for index in rng.choice(human, settings.batch_size):
        waveform = store.waveform(int(index))
        if waveform.size < length:
            waveform = np.tile(waveform, -(-length // waveform.size))
        start = int(rng.integers(waveform.size - length + 1))
        crop = waveform[start : start + length]
        level = float(np.sqrt(np.mean(np.square(crop))))
        crops.append(crop * np.float32(LEVEL_RMS / max(level, QUIET_RMS)))
    return torch.from_numpy(np.stack(crops)).clamp(-1.0, 1.0)
