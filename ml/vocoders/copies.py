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
from dataclasses import dataclass
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
from ml.processes import spread
from ml.published import fetch
from ml.training.store import WaveformStore
from ml.vocoders.networks import Vocoder, build, load_generator
from ml.vocoders.train import LEVEL_RMS, train_vocoder
from ml.wav import INT16_FULL_SCALE, to_pcm16

COPIES_VERSION = 1
PART_CLIPS = 250  # some minutes of a core by a published vocoder
REFINED_SHARE = 0.5
REFINED_TO: Range = (0.4, 1.0)
"""Half of the copies by our own networks get amplitudes nearer to the original's: those of minutes of training blur
harmonics, published ones hardly do, and a detector that learns the blur learns nothing of them."""
REFINED_BY = (512, 128)  # transform and hop, in samples
TINY_AMPLITUDE = 1e-5


@dataclass(frozen=True, slots=True)
class Copies:
    """Several copies of every bona fide clip, each by another of the vocoders.

    The first of some of them is by a published one, where there are any: they are the best, and slow.
    """

    offsets: NDArray[np.int64]
    """(clips + 1,): those of the store, spoof clips taking no room."""
    layers: tuple[NDArray[np.int16], ...]
    """One copy of every clip each."""

    def waveform(self, layer: int, index: int) -> Samples:
        start, stop = self.offsets[index], self.offsets[index + 1]
        return self.layers[layer][start:stop].astype(np.float32) / np.float32(INT16_FULL_SCALE)

    @staticmethod
    def open_or_render(
        vocoders: Sequence[Vocoder],
        store: WaveformStore,
        folder: Path,
        *,
        per_clip: int,
        seed: int,
        published_share: float = 1.0,
    ) -> "Copies":
        """At most `per_clip` copies of each clip; files are named by the networks' weights, the clips and the seed.

        They are rendered in parts, of which those that are done are kept: rendering goes on where it was stopped.
        """
        length = np.diff(store.offsets)
        length[[clip.label != Label.BONAFIDE for clip in store.clips]] = 0
        offsets = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
        stem = f"copies-{_key(vocoders, store, seed, published_share)}"
        paths = [folder / f"{stem}-{layer}.pcm" for layer in range(min(per_clip, len(vocoders)))]
        missing = {layer: path for layer, path in enumerate(paths) if not path.exists()}
        if missing:
            folder.mkdir(parents=True, exist_ok=True)
            renderer = _Renderer(tuple(vocoders), store, seed, published_share)
            starts = range(0, len(store.clips), PART_CLIPS)
            work = [
                (path.with_suffix(f".{start}.part"), layer, start)
                for layer, path in missing.items()
                for start in starts
            ]
            parts = list(spread(_render, work, jobs=os.cpu_count() or 1, initializer=_start, initargs=(renderer,)))
            for number, path in enumerate(missing.values()):
                _join(parts[number * len(starts) : (number + 1) * len(starts)], path)
        return Copies(offsets, tuple(np.memmap(path, dtype=np.int16, mode="r") for path in paths))


def copies_for(experiment: Experiment, store: WaveformStore, cache: Path, *, quiet: bool = False) -> Copies | None:
    """Those of the experiment's vocoders, which are trained now unless they were before; None where it has none."""
    if not experiment.vocoders:
        return None
    vocoders = []
    for config in experiment.vocoders:
        if config.weights is not None:
            network = build(config)
            network.decoder.load_state_dict(load_generator(fetch(config.weights, cache)))
            vocoders.append(network.eval())
            continue
        path = cache / f"vocoder-{config.name}-{clips_key(store)}.pt"
        vocoders.append(train_vocoder(config, experiment.vocoder_training, store, path, quiet=quiet))
    data = experiment.data
    return Copies.open_or_render(
        vocoders,
        store,
        cache,
        per_clip=data.copies_per_clip,
        seed=experiment.vocoder_training.seed,
        published_share=data.published_share,
    )


def copy_by(network: Vocoder, samples: Samples, rng: np.random.Generator) -> Samples:
    """`samples` through the network: same length, level and times. Silence comes back as it is."""
    level = rms(samples)
    if level < TINY_RMS:
        return samples.copy()
    rate_hz = int(rng.choice(network.played_at_hz))
    played = match_rms(resample(samples, SAMPLE_RATE_HZ, rate_hz), LEVEL_RMS)
    whole = -(-played.size // network.hop) * network.hop
    padded = torch.from_numpy(np.pad(played, (0, whole - played.size))).clamp(-1.0, 1.0)
    with torch.no_grad():
        copied = network(padded[None])[0, : played.size].numpy()
    copied = fit_length(resample(copied, rate_hz, SAMPLE_RATE_HZ), samples.size)
    if not network.published and chance(rng, REFINED_SHARE):
        copied = _refine(copied, samples, uniform(rng, REFINED_TO))
    return match_rms(copied, level).astype(np.float32)


def _refine(copied: Samples, original: Samples, share: float) -> Samples:
    """The copy with its amplitudes moved to the original's, by `share` of the way in decibels; its phase stays."""
    spectrum, aim = analyse(copied, *REFINED_BY), analyse(original, *REFINED_BY)
    amplitude = np.maximum(np.abs(spectrum), np.float32(TINY_AMPLITUDE))
    wanted = np.maximum(np.abs(aim), np.float32(TINY_AMPLITUDE))
    return synthesise(spectrum * (wanted / amplitude) ** np.float32(share), *REFINED_BY, copied.size)


@dataclass(frozen=True, slots=True)
class _Renderer:
    """What every process needs to render any part."""

    vocoders: tuple[Vocoder, ...]
    store: WaveformStore
    seed: int
    published_share: float

    def copy(self, layer: int, index: int) -> Samples:
        """Clip `index` by the vocoder of its `layer`; the layers of a clip are by different vocoders."""
        rng = np.random.default_rng([self.seed, index])
        order = [int(number) for number in rng.permutation(len(self.vocoders))]
        published = [number for number in order if self.vocoders[number].published]
        if published:
            first = published[:1] if chance(rng, self.published_share) else []
            order = first + [number for number in order if number not in published]
            order += [number for number in published if number not in first]
        network = self.vocoders[order[layer]]
        return copy_by(network, self.store.waveform(index), np.random.default_rng([self.seed, index, layer]))


_renderer: _Renderer


def _start(renderer: _Renderer) -> None:
    global _renderer  # noqa: PLW0603  once a process, which does nothing else
    torch.set_num_threads(1)
    _renderer = renderer


def _render(task: tuple[Path, int, int]) -> Path:
    """The copies of one layer of PART_CLIPS clips, in the file that is named; unless it is there."""
    part, layer, start = task
    if part.exists():
        return part
    partial = part.with_suffix(f".{os.getpid()}")
    with partial.open("wb") as file:
        for index, clip in enumerate(_renderer.store.clips[start : start + PART_CLIPS], start):
            if clip.label == Label.BONAFIDE:
                file.write(to_pcm16(_renderer.copy(layer, index)).tobytes())
    partial.replace(part)
    return part


def _join(parts: Sequence[Path], path: Path) -> None:
    partial = path.with_suffix(f".{os.getpid()}.part")
    with partial.open("wb") as file:
        for part in parts:
            file.write(part.read_bytes())
    partial.replace(path)
    for part in parts:
        part.unlink()


def clips_key(store: WaveformStore) -> str:
    """Names the clips of a store."""
    return hashlib.sha256("\n".join(str(clip.path) for clip in store.clips).encode()).hexdigest()[:16]


def _key(vocoders: Sequence[Vocoder], store: WaveformStore, seed: int, published_share: float) -> str:
    share = [published_share] if any(network.published for network in vocoders) else []
    found = hashlib.sha256(json.dumps([COPIES_VERSION, seed, clips_key(store), *share]).encode())
    for network in vocoders:
        for weight in network.state_dict().values():
            found.update(weight.numpy().tobytes())
    return found.hexdigest()[:16]
