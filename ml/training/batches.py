"""Batches as a pure function of the seed and the step: `factory(step)` is the same whenever it is called.

That makes a run repeatable and a resumed run equal to one that was never interrupted: there is no sampler state
to save. Half of each batch is bona fide; some of the spoof half is made from it, by copy-synthesis or splicing,
with the same channel as its source, so that only the synthesis tells the two apart.
Copies are made here by the vocoders of `ml.augment`, or were rendered before by neural ones (`ml.vocoders`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from earwitness.canonical import canonicalise
from earwitness.waveform import Samples, sample_count, seconds
from ml.augment import METHODS, NoiseBank, SpliceConfig, augment, copy_synthesise, splice
from ml.config import ConfigError, Experiment
from ml.datasets.manifest import Kind, Label
from ml.training.sampling import companions, draw_weights
from ml.training.store import WaveformStore
from ml.vocoders.copies import Copies

OWN_COPY_SHARE = 0.5  # of the splices: the same voice goes on, only the synthesis changes
BABBLE_VOICES = 64  # enough that seven of them rarely say the same; 11 MB


@dataclass(frozen=True, slots=True)
class Batch:
    waveforms: Tensor
    """(batch, samples) float32, canonical"""
    labels: Tensor
    """(batch,) float32: 1 is spoof"""
    frame_labels: Tensor
    """(batch, frames) float32; NaN where it is not known which frames are synthetic"""
    paired: Tensor
    """(batch / 2,) bool: whether spoof clip i was made from bona fide clip i or comes from the same place, and went
    through the same channel"""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in which clip a crop lies, so that it can be cut out of a copy of the clip too."""

    index: int
    start: int
    length: int
    repeats: int
    """A clip that is too short is repeated, not padded: silence at the edge would tell its length."""

    def cut(self, waveform: Samples) -> Samples:
        if self.repeats > 1:
            waveform = np.tile(waveform, self.repeats)
        return waveform[self.start : self.start + self.length]


class BatchFactory(Dataset[Batch]):
    """Item i is the batch of step i. Picklable, so that loader workers can hold it."""

    def __init__(
        self,
        experiment: Experiment,
        store: WaveformStore,
        bank: NoiseBank,
        frame_hop_samples: int,
        copies: Copies | None = None,
    ) -> None:
        self.experiment = experiment
        self.store = store
        self.bank = bank
        self.copies = copies
        self.frame_hop_samples = frame_hop_samples
        self.splicing = SpliceConfig(frame_hop_s=seconds(frame_hop_samples))
        data = experiment.data
        weights = draw_weights(store.clips, data.source_balance, data.source_pairing)
        is_spoof = np.array([clip.label == Label.SPOOF for clip in store.clips])
        self.bonafide, self.spoof = np.flatnonzero(~is_spoof), np.flatnonzero(is_spoof)
        if not (self.bonafide.size and self.spoof.size):
            raise ConfigError("training needs clips of both classes")
        self.bonafide_weights, self.spoof_weights = weights[self.bonafide], weights[self.spoof]
        # Of a partly synthetic clip it isn't known which part would be set in.
        self.donors = np.array([i for i in self.spoof if store.clips[i].kind is not Kind.EDIT], dtype=np.intp)
        if experiment.data.splice_share and not self.donors.size:
            raise ConfigError(
                "data.splice_share must be 0: splices need wholly synthetic clips, and there are none"
            )
        self.donor_weights = weights[self.donors] / weights[self.donors].sum()
        self.companions = {
            i: (near, weights[near] / weights[near].sum()) for i, near in companions(store.clips).items()
        }

    def __len__(self) -> int:
        return self.experiment.train.max_steps

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.experiment.seed, step])
        data = self.experiment.data
        half = self.experiment.train.batch_size // 2
        # A whole number of frames, so that every architecture has one frame score a label.
        frames = max(
            1, round(sample_count(rng.uniform(data.crop_s_min, data.crop_s_max)) / self.frame_hop_samples)
        )
        length = frames * self.frame_hop_samples
        chosen = rng.choice(self.bonafide, half, p=self.bonafide_weights)
        places = [self._place(int(i), length, rng) for i in chosen]
        human = [place.cut(self.store.waveform(place.index)) for place in places]
        channel_seeds = rng.integers(2**63, size=2 * half)
        waveforms = [self._channel(x, int(seed)) for x, seed in zip(human, channel_seeds[:half], strict=True)]
        frame_labels = [np.zeros(frames, np.float32)] * half
        paired = np.zeros(half, np.bool_)
        for position, draw in enumerate(rng.random(half)):
            if draw < data.copy_share:
                fake, labels = self._copy(human[position], places[position], rng), np.ones(frames, np.float32)
                paired[position] = True
            elif draw < data.copy_share + data.splice_share:
                if rng.random() < OWN_COPY_SHARE:
                    donor = self._copy(human[position], places[position], rng)
                else:
                    donor = self._donor(places[position].index, length, rng)
                fake, spliced = splice(human[position], donor, rng, self.splicing)
                labels = spliced.astype(np.float32)
                paired[position] = True
            elif (
                draw < data.copy_share + data.splice_share + data.companion_share
                and (near := self._companion(places[position].index, length, rng)) is not None
            ):
                fake, labels = near, np.ones(frames, np.float32)
                paired[position] = True
            else:
                fake, kind = self._draw_spoof(length, rng)
                labels = np.full(frames, np.nan if kind is Kind.EDIT else 1.0, np.float32)
            seed = int(channel_seeds[position if paired[position] else half + position])
            waveforms.append(self._channel(fake, seed))
            frame_labels.append(labels)
        return Batch(
            waveforms=torch.from_numpy(np.stack(waveforms)),
            labels=torch.cat([torch.zeros(half), torch.ones(half)]),
            frame_labels=torch.from_numpy(np.stack(frame_labels)),
            paired=torch.from_numpy(paired),
        )

    def _copy(self, samples: Samples, place: _Place, rng: np.random.Generator) -> Samples:
        """A copy of the bona fide crop at `place`."""
        if self.copies is not None and rng.random() < self.experiment.data.neural_share:
            return place.cut(self.copies.waveform(int(rng.integers(len(self.copies.layers))), place.index))
        return copy_synthesise(samples, rng, str(rng.choice(list(METHODS))))

    def _donor(self, index: int, length: int, rng: np.random.Generator) -> Samples:
        """Synthetic speech to be set into the bona fide clip `index`."""
        share = self.experiment.data.companion_donors
        near = self._companion(index, length, rng) if share and rng.random() < share else None
        return (
            self._crop(int(rng.choice(self.donors, p=self.donor_weights)), length, rng) if near is None else near
        )

    def _companion(self, index: int, length: int, rng: np.random.Generator) -> Samples | None:
        """Wholly synthetic speech from the place of the bona fide clip `index`, where there is any."""
        near = self.companions.get(index)
        return None if near is None else self._crop(int(rng.choice(near[0], p=near[1])), length, rng)

    def _draw_spoof(self, length: int, rng: np.random.Generator) -> tuple[Samples, Kind]:
        index = int(rng.choice(self.spoof, p=self.spoof_weights))
        return self._crop(index, length, rng), self.store.clips[index].kind

    def _crop(self, index: int, length: int, rng: np.random.Generator) -> Samples:
        return self._place(index, length, rng).cut(self.store.waveform(index))

    def _place(self, index: int, length: int, rng: np.random.Generator) -> _Place:
        size = int(self.store.offsets[index + 1] - self.store.offsets[index])
        repeats = max(1, -(-length // size))
        return _Place(index, int(rng.integers(repeats * size - length + 1)), length, repeats)

    def _channel(self, samples: Samples, seed: int) -> Samples:
        rng = np.random.default_rng(seed)
        return canonicalise(augment(samples, rng, self.experiment.augment, self.bank)).samples


def load_bank(noise_dir: str, store: WaveformStore) -> NoiseBank:
    """The noises of a folder (none where it is empty) and, for babble, bona fide voices of the training part.

    Raises FileNotFoundError where the folder has no manifest, ConfigError where that or a sound can't be used.
    """
    try:
        bank = NoiseBank.from_folder(Path(noise_dir)) if noise_dir else NoiseBank()
    except ValueError as error:
        raise ConfigError(f"data.noise_dir: {error}") from error
    human = [i for i, clip in enumerate(store.clips) if clip.label == Label.BONAFIDE]
    stride = max(1, len(human) // BABBLE_VOICES)
    return bank.with_voices(store.waveform(i) for i in human[::stride][:BABBLE_VOICES])
