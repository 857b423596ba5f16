"""`python -m ml.training.borrowed`: what the ears of a speech recogniser add to a detector trained from nothing.

    python -m ml.training.borrowed --config ml/experiments/twin.toml --manifest runs/manifests/earcorpus.csv

A few hours of speech teach a small network only so much. The encoder of a speech recogniser heard 680,000
hours; its weights come with a package of Python's index (BORROWED), and nothing of that package's code is run.
They are left as they are: of each of its layers the mean, the spread and the mean step from frame to frame over a clip
go into a small head (`Head`), trained on the training part, as it lies and through the experiment's augmentation.

Prints a table for docs/experiments.md: on the held-out part, the shipped detector, the mean of the heads of several
seeds, and the sum of the two, each divided by its spread over the clips (which asks for no labels: nothing is fitted
there). Features are kept in the experiment's cache, so the command can be stopped and called again. Exit codes: 0
done, 2 a file can't be used.
"""

import argparse
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earwitness.canonical import canonicalise
from earwitness.errors import ModelError
from earwitness.model_spec import default_model_path
from earwitness.scorer import Scorer, load_scorer
from earwitness.waveform import SAMPLE_RATE_HZ, Samples, sample_count
from earwitness.windows import iter_windows
from ml.augment import NoiseBank, augment
from ml.config import ConfigError, Experiment, load_experiment
from ml.datasets.errors import DatasetError
from ml.evaluation.conditions import CONDITIONS
from ml.evaluation.metrics import eer_by_kind, equal_error_rate, roc_auc
from ml.evaluation.scores import CLEAN
from ml.models.frontend import slaney_filters
from ml.models.recogniser import (
    BORROWED,
    FFT,
    HOP,
    MELS,
    POWER_FLOOR,
    RANGE,
    TOP_HZ,
    VARIANCE_FLOOR,
)
from ml.processes import spread
from ml.published import fetch
from ml.training.batches import load_bank
from ml.training.store import WaveformStore
from ml.training.train import split_clips
from ml.vocoders.copies import clips_key

# Of that very graph: what enters its blocks, and what leaves each of the four.
LAYERS = ("add_20", "add_146", "add_268", "add_390", "add_512")
INPUT = "input_features"
HEARD_S = 8.0  # what the graph takes; a shorter clip stands at its end, behind silence
STEP_SAMPLES = 2 * HOP  # of a frame of its layers
SPREAD_FLOOR = 1e-6  # a feature that never changes stays finite
LONGEST_Z = 5.0  # a feature further out says nothing more
HIDDEN, DROPOUT, LEARNING_RATE, WEIGHT_DECAY, STEPS, BATCH = 128, 0.5, 1e-3, 0.3, 1_500, 256
SEEDS = (1, 2, 3)
SHOWN = (CLEAN, "opus_16k", "amr_nb", "noise_10db", "room_0.6s")
AUGMENTED = "augmented"
JOBS = 2

FloatArray = NDArray[np.float64]


class Ears:
    """The recogniser's encoder; holds one loaded graph."""

    def __init__(self, path: Path) -> None:
        graph = onnx.load(path)
        for name in LAYERS:
            graph.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            graph.SerializeToString(), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._filters = slaney_filters(MELS, FFT, SAMPLE_RATE_HZ, TOP_HZ)
        self._window = torch.hann_window(FFT)

    def features(self, samples: Samples) -> NDArray[np.float32]:
        """Shape (layers * 3 * width,): of each layer the mean, the spread and the mean step over the clip."""
        samples = samples[-sample_count(HEARD_S) :]
        frames = max(2, samples.size // STEP_SAMPLES)
        layers = self._session.run(LAYERS, {INPUT: self.spectrogram(samples)[None].numpy()})
        parts = []
        for layer in layers:
            heard = layer[0, -frames:]
            parts += [heard.mean(axis=0), heard.std(axis=0), np.abs(np.diff(heard, axis=0)).mean(axis=0)]
        found: NDArray[np.float32] = np.concatenate(parts).astype(np.float32)
        return found

    def spectrogram(self, samples: Samples) -> Tensor:
        """Shape (MELS, HEARD_S / 10 ms), logarithmic: the loudest and RANGE powers of ten below it are 2 apart."""
        length = sample_count(HEARD_S)
        padded = np.pad(samples, (length - samples.size, 0)).astype(np.float32)
        sound = torch.from_numpy((padded - padded.mean()) / np.sqrt(padded.var() + VARIANCE_FLOOR))
        spectrum = torch.stft(sound, FFT, HOP, window=self._window, return_complex=True)[:, :-1].abs().square()
        logarithm = torch.log10((self._filters @ spectrum).clamp(min=POWER_FLOOR))
        return (torch.maximum(logarithm, logarithm.max() - RANGE) + 4.0) / 4.0


class Head(nn.Module):
    """From features, standardised by those of the training part, to a logit; higher = more likely spoof."""

    def __init__(self, features: NDArray[np.float32]) -> None:
        super().__init__()
        mean, deviation = features.mean(axis=0), features.std(axis=0) + SPREAD_FLOOR
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("deviation", torch.from_numpy(deviation))
        self.layers = nn.Sequential(
            nn.Dropout(DROPOUT),
            nn.Linear(mean.size, HIDDEN),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(batch, features) to (batch,)."""
        logits: Tensor = self.layers(self.standardised(features))[:, 0]
        return logits

    def standardised(self, features: Tensor) -> Tensor:
        z = (features - self.get_buffer("mean")) / self.get_buffer("deviation")
        return z.clamp(-LONGEST_Z, LONGEST_Z)


def train_head(features: NDArray[np.float32], is_spoof: NDArray[np.bool_], seed: int, steps: int = STEPS) -> Head:
    """Both classes weigh the same, whatever their numbers."""
    torch.manual_seed(seed)
    head = Head(features).train()
    inputs, labels = head.standardised(torch.from_numpy(features)), torch.from_numpy(is_spoof).float()
    loss = nn.BCEWithLogitsLoss(pos_weight=(1.0 - labels).sum() / labels.sum())
    optimiser = torch.optim.AdamW(head.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for _ in range(steps):
        rows = torch.randint(len(inputs), (BATCH,))
        optimiser.zero_grad()
        loss(head.layers(inputs[rows])[:, 0], labels[rows]).backward()
        optimiser.step()
    return head.eval()


@dataclass(frozen=True, slots=True)
class _Work:
    """What of a store is to be heard: all of its clips under one condition."""

    store: WaveformStore
    condition: str
    """One of CONDITIONS, or AUGMENTED."""
    experiment: Experiment
    bank: NoiseBank

    def waveform(self, index: int) -> Samples:
        rng = np.random.default_rng([1, index])
        samples = self.store.waveform(index)
        if self.condition == AUGMENTED:
            return augment(samples, rng, self.experiment.augment, self.bank)
        return CONDITIONS[self.condition](samples, rng)


_heard_by: tuple[Ears, _Work] | None = None  # of this process


def _start(path: Path, work: _Work) -> None:
    global _heard_by  # noqa: PLW0603  a process of the pool has one
    torch.set_num_threads(1)
    _heard_by = Ears(path), work


def _hear(index: int) -> NDArray[np.float32]:
    assert _heard_by is not None
    ears, work = _heard_by
    return ears.features(work.waveform(index))


def features_of(work: _Work, weights: Path, cache: Path, jobs: int) -> NDArray[np.float32]:
    """Of all clips, shape (clips, features); kept in `cache`."""
    told = f"{clips_key(work.store)}{work.condition}{work.experiment.augment}{BORROWED.sha256}{LAYERS}"
    path = cache / f"borrowed-{hashlib.sha256(told.encode()).hexdigest()[:16]}.npy"
    if not path.exists():
        clips = list(range(len(work.store.clips)))
        found = np.stack(
            list(spread(_hear, clips, jobs=jobs, initializer=_start, initargs=(weights, work), chunksize=16))
        )
        partial = path.with_suffix(".part.npy")
        np.save(partial, found)
        partial.replace(path)
    kept: NDArray[np.float32] = np.load(path)
    return kept


def shipped_logits(scorer: Scorer, work: _Work) -> FloatArray:
    """Of all clips, each the mean over its windows, as the library cuts them."""
    logits = []
    for index in range(len(work.store.clips)):
        windows = iter_windows([work.waveform(index)], scorer.spec.window)
        scores = [scorer.score(canonicalise(window.samples).samples[None]).score[0] for window in windows]
        logits.append(float(np.mean(scores)))
    return np.array(logits)


def row(name: str, condition: str, logits: FloatArray, store: WaveformStore) -> str:
    """A line of the table: AUC and EERs in %."""
    is_spoof = np.array([clip.is_spoof for clip in store.clips])
    kinds = np.array([clip.kind for clip in store.clips])
    eers = [equal_error_rate(logits, is_spoof)[0], *eer_by_kind(logits, is_spoof, kinds).values()]
    told = " | ".join(f"{100 * eer:.1f}" for eer in eers)
    return f"| {condition} | {name} | {roc_auc(logits, is_spoof):.3f} | {told} |"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ml.training.borrowed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, required=True, help="an experiment: its data and augmentation")
    parser.add_argument("--manifest", help="instead of the experiment's")
    parser.add_argument("--model", type=Path, default=default_model_path(), help="the detector beside it")
    parser.add_argument("--conditions", nargs="*", default=SHOWN, choices=sorted(CONDITIONS), help="of the table")
    parser.add_argument("--jobs", type=int, default=JOBS, help="processes")
    options = parser.parse_args(arguments)
    try:
        data = {} if options.manifest is None else {"data.manifest": options.manifest}
        experiment = load_experiment(options.config, data)
        cache = Path(experiment.data.cache_dir)
        clips, split = split_clips(experiment)
        weights = fetch(BORROWED, cache)
        scorer = load_scorer(options.model)
        trained = WaveformStore.open_or_build([clips[i] for i in split.train], cache)
        heldout = WaveformStore.open_or_build([clips[i] for i in split.heldout], cache)
        bank = load_bank(experiment.data.noise_dir, trained)
    except (ConfigError, DatasetError, ModelError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    features = np.concatenate(
        [
            features_of(_Work(trained, condition, experiment, bank), weights, cache, options.jobs)
            for condition in (CLEAN, AUGMENTED)
        ]
    )
    is_spoof = np.array([clip.is_spoof for clip in trained.clips] * 2)
    torch.set_flush_denormal(True)  # moments of weights that decayed to nothing make a step ten times as long
    heads = [train_head(features, is_spoof, seed) for seed in SEEDS]
    kinds = sorted({clip.kind for clip in heldout.clips if clip.is_spoof})
    print(f"| condition | logit | AUC | EER, % | {' | '.join(kinds)} |")
    print("| --- " * (4 + len(kinds)) + "|")
    for condition in options.conditions:
        work = _Work(heldout, condition, experiment, bank)
        inputs = torch.from_numpy(features_of(work, weights, cache, options.jobs))
        with torch.no_grad():
            borrowed = torch.stack([head(inputs) for head in heads]).double().mean(dim=0).numpy()
        shipped = shipped_logits(scorer, work)
        print(row(scorer.spec.model_version, condition, shipped, heldout))
        print(row(f"borrowed, {len(heads)} heads", condition, borrowed, heldout))
        print(row("both", condition, shipped / shipped.std() + borrowed / borrowed.std(), heldout), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
