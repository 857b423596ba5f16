"""`python -m ml.training.borrowed`: train heads on a speech recogniser's layers, which stay as they are.

    python -m ml.training.borrowed --config ml/experiments/listener.toml --manifest runs/manifests/earcorpus.csv \\
        --out runs/listener-seed1

What the head of the clip reads (`ml.models.recogniser`) is worked out once for each training clip as it lies, for
`data.passes` random crops of it through the experiment's augmentation, and for the copies of bona fide clips by the
experiment's vocoders, which count as spoof. Then several heads are trained on that in seconds, and joined to one
that gives the mean of their logits. To train the encoder beside a head that knows nothing spoils what was borrowed
(Kumar et al., 2022, ICLR); it was tried too (docs/experiments.md).

The layers are those that were borrowed or, where the experiment starts from another (`start_from`), those that it
trained; its run lies beside this one's. Where they have fewer neurons, heads or channels than were borrowed
(`model.hidden`, `model.heads`, `model.channels`) some training clips tell which stay (`ml.models.pruning`), and where
they multiply whole numbers (`model.whole`) between which bounds.

How a whole network is trained (`[train]`, and what a batch is drawn from) is no matter of heads: an experiment that
sets such a key to anything but its default is refused.

With `--out` it leaves a checkpoint like that of a finished run, whose frame scores are untrained: a stage with
`train.only_frames` can go on from there. Prints a table for docs/experiments.md: on the held-out part, the detector
beside it, the heads, and the sum of the two, each divided by its spread over the clips (which asks for no labels).
Statistics are kept in the experiment's cache, so the command can be stopped and called again.
Exit codes: 0 done, 2 a file can't be used.
"""

import argparse
import hashlib
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earwitness.canonical import canonicalise
from earwitness.errors import ModelError
from earwitness.model_spec import default_model_path
from earwitness.scorer import Scorer, load_scorer
from earwitness.waveform import Samples, sample_count
from earwitness.windows import iter_windows
from ml.augment import NoiseBank, augment
from ml.config import OF_LENGTH, OF_MACHINE, ConfigError, DataConfig, Experiment, TrainConfig, load_experiment
from ml.datasets.errors import DatasetError
from ml.evaluation.conditions import CONDITIONS
from ml.evaluation.metrics import eer_by_kind, equal_error_rate, roc_auc
from ml.evaluation.scores import CLEAN
from ml.models import SpoofNetwork, build_network
from ml.models.encoders import whole_encoder
from ml.models.pruning import prune
from ml.models.recogniser import Encoder, RecogniserMember, StatisticsHead
from ml.models.whole_numbers import measure, weights_of
from ml.processes import spread
from ml.provenance import seed_everything
from ml.training.batches import load_bank
from ml.training.heads import HeadRecipe, joined, train_head
from ml.training.store import WaveformStore
from ml.training.train import leave_run, provenance, run_folder, split_clips, starting_point, training_clips
from ml.vocoders.copies import Copies, clips_key, copies_for

STATISTICS_VERSION = 1
AUGMENTED, COPIED, CROPPED = "augmented", "copied", "cropped"
CROPS, CROP_S = 3, 2.0  # at the start, in the middle and at the end; half a window of the service
HEADS = 3
"""Their logits' mean is better than one's, and costs next to nothing."""
RECIPE = HeadRecipe()
SHOWN = (CLEAN, "opus_16k", "amr_nb", "noise_10db", "room_0.6s")
JOBS = 2
IGNORED_DATA = (
    "copy_share", "neural_share", "splice_share", "companion_donors", "companion_share", "source_balance",
    "source_pairing",
)  # fmt: skip
LISTENED_CLIPS = 256  # half of them augmented: thirty thousand frames for up to two thousand numbers

FloatArray = NDArray[np.float64]


def listener(network: SpoofNetwork) -> RecogniserMember:
    """The network's one member; ConfigError where it is of another architecture or one of several."""
    member = network.members[0]
    if len(network.members) > 1 or not isinstance(member, RecogniserMember):
        raise ConfigError('this needs an experiment with architecture = "recogniser"')
    return member


def check_heeded(experiment: Experiment) -> None:
    """ConfigError that names what the experiment asks for and heads on layers that stay are trained without."""
    of_train = [f.name for f in fields(TrainConfig) if f.name not in (*OF_LENGTH, *OF_MACHINE)]
    tables = (("data", DataConfig(), IGNORED_DATA), ("train", TrainConfig(), of_train))
    ignored = [
        f"{table}.{key}"
        for table, default, keys in tables
        for key in keys
        if getattr(getattr(experiment, table), key) != getattr(default, key)
    ]
    if ignored:
        raise ConfigError(
            f"heads on layers that stay are trained without {', '.join(ignored)} (HeadRecipe says how): leave it out"
        )


def fresh_network(experiment: Experiment) -> SpoofNetwork:
    """Its frame scores begin at random, by the experiment's seed; ConfigError as `check_heeded`."""
    check_heeded(experiment)
    seed_everything(experiment.seed, experiment.train.threads)
    network, _ = build_network(experiment.architecture, experiment.model)
    return network.eval()


@dataclass(frozen=True, slots=True)
class Work:
    """What of a store is to be heard."""

    store: WaveformStore
    rendition: str
    """One of CONDITIONS, or AUGMENTED, COPIED or CROPPED with a number."""
    experiment: Experiment
    bank: NoiseBank
    copies: Copies | None = None

    def clips(self) -> list[int]:
        whole = range(len(self.store.clips))
        return [i for i in whole if not (self.rendition.startswith(COPIED) and self.store.clips[i].is_spoof)]

    def waveform(self, index: int) -> Samples:
        if self.rendition in CONDITIONS:
            return CONDITIONS[self.rendition](self.store.waveform(index), np.random.default_rng([1, index]))
        name, number = self.rendition.split("-")
        samples = self.store.waveform(index)
        if name == CROPPED:
            start = max(0, samples.size - sample_count(CROP_S)) * int(number) // (CROPS - 1)
            return samples[start : start + sample_count(CROP_S)]
        rng = np.random.default_rng([self.experiment.seed, len(name), int(number), index])
        if name == COPIED:
            assert self.copies is not None
            samples = self.copies.waveform(int(number) % len(self.copies.layers), index)
        data = self.experiment.data
        length = min(samples.size, sample_count(rng.uniform(data.crop_s_min, data.crop_s_max)))
        start = int(rng.integers(samples.size - length + 1))
        return augment(samples[start : start + length], rng, self.experiment.augment, self.bank)

    def canonical(self, index: int) -> torch.Tensor:
        """The canonical view of that, as a batch of one."""
        return torch.from_numpy(canonicalise(self.waveform(index)).samples)[None]


_heard_by: tuple[RecogniserMember, Work] | None = None  # of this process


def _start(weights: dict[str, NDArray[Any]], work: Work) -> None:
    global _heard_by  # noqa: PLW0603  a process of the pool has one
    torch.set_num_threads(1)
    network = build_network(work.experiment.architecture, work.experiment.model)[0]
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    _heard_by = listener(network.eval()), work


@torch.inference_mode()
def _hear(index: int) -> NDArray[np.float32]:
    assert _heard_by is not None
    member, work = _heard_by
    found: NDArray[np.float32] = member.statistics(work.canonical(index))[0].numpy()
    return found


def statistics_of(work: Work, network: SpoofNetwork, cache: Path, jobs: int) -> NDArray[np.float32]:
    """Of all clips of the work, shape (clips, statistics); kept in `cache`."""
    experiment = work.experiment
    weights = {name: value for name, value in network.state_dict().items() if ".backbone." in name}
    cropped = f"{CROPS}{CROP_S}" if work.rendition.startswith(CROPPED) else ""
    told = hashlib.sha256(
        f"{STATISTICS_VERSION}{clips_key(work.store)}{work.rendition}{experiment.seed}{experiment.augment}"
        f"{experiment.data.crop_s_min}{experiment.data.crop_s_max}{experiment.vocoders}{cropped}".encode()
    )
    for value in weights.values():
        told.update(value.numpy().tobytes())
    path = cache / f"statistics-{told.hexdigest()[:16]}.npy"
    if not path.exists():
        # As arrays: each tensor would be handed over by a file descriptor of its own, of which there are 256.
        arrays = {name: value.numpy() for name, value in network.state_dict().items()}
        heard = spread(_hear, work.clips(), jobs=jobs, initializer=_start, initargs=(arrays, work), chunksize=16)
        partial = path.with_suffix(".part.npy")
        np.save(partial, np.stack(list(heard)))
        partial.replace(path)
    kept: NDArray[np.float32] = np.load(path)
    return kept


@dataclass(frozen=True, slots=True)
class _Training:
    """What the heads of an experiment are trained on."""

    experiment: Experiment
    store: WaveformStore
    bank: NoiseBank
    copies: Copies | None
    jobs: int

    def _prune(self, network: SpoofNetwork) -> None:
        """Where the encoder has less than was borrowed: what says most of it, which clips must tell."""
        member = listener(network)
        encoder, origin = member.backbone, member.backbone.origin
        if not encoder.fewer() or self.experiment.start_from:
            return
        whole = Encoder(origin, len(encoder.blocks))
        whole.take(whole_encoder(origin, Path(self.experiment.data.cache_dir)))
        lost = prune(encoder, whole, lambda: self._hear_some(member.frontend, whole))
        told = ", ".join(f"{layer} {share:.1%}" for layer, share in lost.items())
        print(f"of what comes out of a layer that fewer numbers enter is lost: {told}", file=sys.stderr)

    def _measure(self, network: SpoofNetwork) -> None:
        """Where the encoder multiplies whole numbers: between which bounds, which clips must tell as well."""
        member = listener(network)
        if weights_of(member.backbone):
            ordinary = member.backbone.in_floats()
            measure(member.backbone, ordinary, lambda: self._hear_some(member.frontend, ordinary))

    @torch.no_grad()
    def _hear_some(self, frontend: nn.Module, encoder: Encoder) -> None:
        step = max(1, len(self.store.clips) * 2 // LISTENED_CLIPS)
        for rendition in (CLEAN, f"{AUGMENTED}-0"):
            work = Work(self.store, rendition, self.experiment, self.bank)
            for index in work.clips()[::step]:
                encoder(frontend(work.canonical(index)))

    def head(self, network: SpoofNetwork) -> StatisticsHead:
        """On what the network's encoder says, once it has lost what goes and rounds as it will; several,
        joined."""
        self._prune(network)
        self._measure(network)
        renditions = [CLEAN, *(f"{AUGMENTED}-{number}" for number in range(self.experiment.data.passes))]
        if self.copies is not None:
            renditions += [f"{COPIED}-{number}" for number in range(len(self.copies.layers))]
        cache = Path(self.experiment.data.cache_dir)
        found, is_spoof = [], []
        for rendition in renditions:
            work = Work(self.store, rendition, self.experiment, self.bank, self.copies)
            found.append(statistics_of(work, network, cache, self.jobs))
            is_spoof.append([rendition.startswith(COPIED) or self.store.clips[i].is_spoof for i in work.clips()])
        inputs, labels = np.concatenate(found), np.concatenate(is_spoof)
        head = listener(network).head
        size, dropout = head.project.out_features, head.dropout.p
        seeds = range(HEADS * self.experiment.seed, HEADS * (self.experiment.seed + 1))
        return joined(
            [
                train_head(inputs, labels, seed, embedding=size // HEADS, dropout=dropout, recipe=RECIPE)
                for seed in seeds
            ],
            dropout,
        )


def shipped_logits(scorer: Scorer, work: Work) -> FloatArray:
    """Of all clips, each the mean over its windows, as the library cuts them."""
    logits = []
    for index in work.clips():
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
    parser.add_argument("--config", type=Path, required=True, help="an experiment of the architecture recogniser")
    parser.add_argument("--manifest", help="instead of the experiment's")
    parser.add_argument("--out", type=Path, help="a run's folder, for the checkpoint; without it none is kept")
    parser.add_argument("--model", type=Path, default=default_model_path(), help="the detector beside it")
    parser.add_argument("--conditions", nargs="*", default=SHOWN, choices=sorted(CONDITIONS), help="of the table")
    parser.add_argument("--jobs", type=int, default=JOBS, help="processes")
    options = parser.parse_args(arguments)
    try:
        data = {} if options.manifest is None else {"data.manifest": options.manifest}
        experiment = load_experiment(options.config, data)
        network = fresh_network(experiment)
        member = listener(network)
        cache = Path(experiment.data.cache_dir)
        clips, split = split_clips(experiment)
        scorer = load_scorer(options.model)
        trained = WaveformStore.open_or_build(training_clips(experiment, clips, split), cache)
        heldout = WaveformStore.open_or_build([clips[i] for i in split.heldout], cache)
        copies = copies_for(experiment, trained, cache, quiet=True)
        bank = load_bank(experiment.data.noise_dir, trained)
        run_dir = options.out or run_folder(Path("runs"), experiment)
        start = starting_point(experiment, run_dir, network)
    except (ConfigError, DatasetError, ModelError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    training = _Training(experiment, trained, bank, copies, options.jobs)
    torch.set_flush_denormal(True)  # moments of weights that decayed to nothing make a step ten times as long
    try:
        whole = training.head(network)
    finally:  # it holds for all arithmetic of this thread, whoever called
        torch.set_flush_denormal(False)
    member.head.load_state_dict(whole.state_dict())
    kinds = sorted({clip.kind for clip in heldout.clips if clip.is_spoof})
    print(f"| condition | logit | AUC | EER, % | {' | '.join(kinds)} |")
    print("| --- " * (4 + len(kinds)) + "|")
    history = {}
    for condition in options.conditions:
        work = Work(heldout, condition, experiment, bank)
        with torch.no_grad():
            heard = torch.from_numpy(statistics_of(work, network, cache, options.jobs))
            borrowed = whole(heard)[0].double().numpy()
        shipped = shipped_logits(scorer, work)
        print(row(scorer.spec.model_version, condition, shipped, heldout))
        print(row(f"{experiment.name}, {HEADS} heads", condition, borrowed, heldout))
        print(row("both", condition, shipped / shipped.std() + borrowed / borrowed.std(), heldout), flush=True)
        if condition == CLEAN:
            truth = np.array([clip.is_spoof for clip in heldout.clips])
            history = {
                "heldout_eer": equal_error_rate(borrowed, truth)[0],
                "heldout_auc": roc_auc(borrowed, truth),
            }
    if options.out is not None:
        told = provenance(experiment, split, trained, heldout) | start
        leave_run(experiment, network, told, history, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
