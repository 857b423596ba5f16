"""The rendered copies: what each vocoder makes of every bona fide training clip, kept in memory-mapped files.

    copies = Copies.open_or_render(vocoders, store, Path("runs/cache"), per_clip=3, seed=1)
    copies.waveform(0, 17)          # the first copy of clip 17 of the store: same length, float32

Each clip is played to the network faster or slower and its copy back again: published vocoders work at 22 or 24 kHz, so
their marks don't lie at fixed frequencies of a 16 kHz recording.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.waveform import SAMPLE_RATE_HZ, Samples
from ml.augment.draws import Range, chance, uniform
from ml.augment.resample import resample
from ml.augment.spectrum import TINY_RMS, fit_length, match_rms, rms
from ml.augment.stft import analyse, synthesise
from ml.config import Experiment
from ml.datasets.manifest import Label
from ml.training.store import WaveformStore
from ml.vocoders.networks import Vocoder
from ml.vocoders.train import LEVEL_RMS, train_vocoder
from ml.wav import INT16_FULL_SCALE, to_pcm16

COPIES_VERSION = 1
PLAYED_AT_HZ = (14_400, 16_000, 17_600, 20_000, 22_000)
"""As which rate the network is given the sound. 22,000 is what a vocoder at 22 kHz would be given; more would leave the
network less than the 8 kHz of band that it was trained on."""
REFINED_SHARE = 0.5
REFINED_TO: Range = (0.4, 1.0)
"""Half of the copies get amplitudes nearer to the original's: networks of minutes of training blur harmonics, published
ones hardly do, and a detector that learns the blur learns nothing of them."""
REFINED_BY = (512, 128)  # transform and hop, in samples
TINY_AMPLITUDE = 1e-5


@dataclass(frozen=True, slots=True)
class Copies:
    """Several copies of every bona fide clip, each by another of the vocoders."""

    offsets: NDArray[np.int64]
    """(clips + 1,): those of the store, spoof clips taking no room."""
    layers: tuple[NDArray[np.int16], ...]
    """One copy of every clip each."""

    def waveform(self, layer: int, index: int) -> Samples:
        start, stop = self.offsets[index], self.offsets[index + 1]
        return self.layers[layer][start:stop].astype(np.float32) / np.float32(INT16_FULL_SCALE)

    @staticmethod
    def open_or_render(
        vocoders: Sequence[Vocoder], store: WaveformStore, folder: Path, *, per_clip: int, seed: int
    ) -> "Copies":
        """At most `per_clip` copies of each clip; files are named by the networks' weights, the clips and the seed."""
        length = np.diff(store.offsets)
        length[[clip.label != Label.BONAFIDE for clip in store.clips]] = 0
        offsets = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
        stem = f"copies-{_key(vocoders, store, seed)}"
        paths = [folder / f"{stem}-{layer}.pcm" for layer in range(min(per_clip, len(vocoders)))]
        missing = [layer for layer, path in enumerate(paths) if not path.exists()]
        if missing:
            folder.mkdir(parents=True, exist_ok=True)
            with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
                rendered = [
                    pool.submit(_render, vocoders, store, paths[layer], layer=layer, seed=seed)
                    for layer in missing
                ]
                for one in rendered:
                    one.result()
        return Copies(offsets, tuple(np.memmap(path, dtype=np.int16, mode="r") for path in paths))


def copies_for(experiment: Experiment, store: WaveformStore, cache: Path, *, quiet: bool = False) -> Copies | None:
    """Those of the experiment's vocoders, which are trained now unless they were before; None where it has none."""
    if not experiment.vocoders:
        return None
    vocoders = []
    for config in experiment.vocoders:
        path = cache / f"vocoder-{config.name}-{clips_key(store)}.pt"
        vocoders.append(train_vocoder(config, experiment.vocoder_training, store, path, quiet=quiet))
    seed, per_clip = experiment.vocoder_training.seed, experiment.data.copies_per_clip
    return Copies.open_or_render(vocoders, store, cache, per_clip=per_clip, seed=seed)


def copy_by(network: Vocoder, samples: Samples, rng: np.random.Generator) -> Samples:
    """`samples` through the network: same length, level and times. Silence comes back as it is."""
    level = rms(samples)
    if level < TINY_RMS:
        return samples.copy()
    rate_hz = int(rng.choice(PLAYED_AT_HZ))
    played = match_rms(resample(samples, SAMPLE_RATE_HZ, rate_hz), LEVEL_RMS)
    whole = -(-played.size // network.hop) * network.hop
    padded = torch.from_numpy(np.pad(played, (0, whole - played.size))).clamp(-1.0, 1.0)
    with torch.no_grad():
        copied = network(padded[None])[0, : played.size].numpy()
    copied = fit_length(resample(copied, rate_hz, SAMPLE_RATE_HZ), samples.size)
    if chance(rng, REFINED_SHARE):
        copied = _refine(copied, samples, uniform(rng, REFINED_TO))
    return match_rms(copied, level).astype(np.float32)


def _refine(copied: Samples, original: Samples, share: float) -> Samples:
    """The copy with its amplitudes moved to the original's, by `share` of the way in decibels; its phase stays."""
    spectrum, aim = analyse(copied, *REFINED_BY), analyse(original, *REFINED_BY)
    amplitude = np.maximum(np.abs(spectrum), np.float32(TINY_AMPLITUDE))
    wanted = np.maximum(np.abs(aim), np.float32(TINY_AMPLITUDE))
    return synthesise(spectrum * (wanted / amplitude) ** np.float32(share), *REFINED_BY, copied.size)


def _render(vocoders: Sequence[Vocoder], store: WaveformStore, path: Path, *, layer: int, seed: int) -> None:
    """Of each clip the copy of one layer; the layers of a clip are by different vocoders."""
    torch.set_num_threads(1)
    partial = path.with_suffix(f".{os.getpid()}.part")
    with partial.open("wb") as file:
        for index, clip in enumerate(store.clips):
            if clip.label == Label.BONAFIDE:
                order = np.random.default_rng([seed, index]).permutation(len(vocoders))
                rng = np.random.default_rng([seed, index, layer])
                copied = copy_by(vocoders[int(order[layer])], store.waveform(index), rng)
                file.write(to_pcm16(copied).tobytes())
    partial.replace(path)


def clips_key(store: WaveformStore) -> str:
    """Names the clips of a store."""
    return hashlib.sha256("\n".join(str(clip.path) for clip in store.clips).encode()).hexdigest()[:16]


def _key(vocoders: Sequence[Vocoder], store: WaveformStore, seed: int) -> str:
    found = hashlib.sha256(json.dumps([COPIES_VERSION, seed, clips_key(store)]).encode())
    for network in vocoders:
        for weight in network.state_dict().values():
            found.update(weight.numpy().tobytes())
    return found.hexdigest()[:16]
