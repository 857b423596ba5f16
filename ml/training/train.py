"""The training loop: steps, held-out evaluations, early stopping, checkpoints; resumes where it was stopped.

    result = train(load_experiment(Path("ml/experiments/baseline.toml")), Path("runs/baseline"))

On several GPUs or hosts start it with torchrun: each process then takes its own batches and PyTorch's
DistributedDataParallel averages the gradients.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm

from ml.config import OF_LENGTH, OF_MACHINE, ConfigError, Experiment, TrainConfig, train_defaulted
from ml.datasets.manifest import Clip, manifest_sha256, read_manifest
from ml.evaluation.atomic_write import write_text
from ml.evaluation.metrics import eer_by_kind, equal_error_rate, roc_auc
from ml.models import Scores, SpoofNetwork, build_network
from ml.models.seresnet import PlacedMember
from ml.provenance import git_revision, library_versions, machine, seed_everything
from ml.training.average import WeightAverage
from ml.training.batches import Batch, BatchFactory, load_bank
from ml.training.checkpoint import Checkpoint, load, save
from ml.training.inference import LENGTH_STEP_SAMPLES, Spliced, heldout_scores, heldout_splices, segment_eer
from ml.training.losses import batch_loss
from ml.training.mixing import mixed
from ml.training.renderings import rendered_clips
from ml.training.sampling import Split, group_names, hold_out, with_fold_groups
from ml.training.sharpness import climbed
from ml.training.store import WaveformStore
from ml.vocoders.copies import copies_for

CHECKPOINT_NAME = "last.pt"
BEST_NAME = "best.pt"
HISTORY_NAME = "history.jsonl"
START_KEY = "start_from"
"""Of a run's provenance: that of the run it started from."""
MAX_PROCESSES = 4096  # keeps the seeds of the processes of one step apart from those of the next
PATIENCE = timedelta(hours=12)  # of a process that waits for another, which may decode a large corpus meanwhile
GRADIENT_NORM_MAX = 5.0  # far above the usual norm of about 1: stops a single bad batch, not learning


@dataclass(frozen=True, slots=True)
class TrainResult:
    steps: int
    best_eer: float
    best_path: Path
    stopped_early: bool


def train(experiment: Experiment, run_dir: Path, *, resume: bool = True, quiet: bool = False) -> TrainResult:
    """Train until `max_steps` or until the held-out EER no longer falls.

    Leaves `best.pt`, `last.pt`, `config.json` and `history.jsonl` in `run_dir`. With `resume` it goes on from
    `last.pt` where there is one.
    """
    settings = experiment.train
    clips, split = split_clips(experiment)
    saved = _begun(experiment, run_dir) if resume else None
    if saved is not None:  # before clips are decoded and copies rendered, which takes minutes
        asked = replace(saved, experiment=experiment)  # which may be longer, or more patient
        if asked.ended:
            at_end = saved.step >= settings.max_steps
            return TrainResult(saved.step, saved.best_eer, run_dir / BEST_NAME, stopped_early=not at_end)
    seed_everything(experiment.seed, settings.threads)
    with _process_group() as (rank, world):
        device = _device(rank)
        cache = Path(experiment.data.cache_dir)
        with _one_process_first(world):
            store = WaveformStore.open_or_build(training_clips(experiment, clips, split), cache)
            heldout = WaveformStore.open_or_build([clips[i] for i in split.heldout], cache)
            copies = copies_for(experiment, store, cache, quiet=quiet)
        network, frame_hop = build_network(experiment.architecture, experiment.model)
        if settings.only_frames and frame_hop != LENGTH_STEP_SAMPLES:
            raise ConfigError(
                f"train.only_frames is judged on frames of {LENGTH_STEP_SAMPLES} samples; this network has one every "
                f"{frame_hop}"
            )
        if settings.relative_frames and not all(isinstance(member, PlacedMember) for member in network.members):
            raise ConfigError('train.relative_frames is for frame scores without a mean: frames = "own"')
        start = _start(experiment, run_dir, network, saved)
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # stub lacks it
        bank = load_bank(experiment.data.noise_dir, store)
        factory = BatchFactory(experiment, store, bank, frame_hop, copies)
        state = _State(
            experiment, network, settings, run_dir, provenance(experiment, split, store, heldout) | start
        )
        if saved is not None:
            state.restore(saved)
        if rank == 0:
            _open_folder(run_dir, state, new=saved is None)
        wrapped = DistributedDataParallel(Trainable(network)) if world > 1 else Trainable(network)
        mine = range(state.step * world + rank, settings.max_steps * world, world)
        loader = DataLoader(
            factory, batch_size=None, sampler=mine, num_workers=settings.loader_workers, collate_fn=_as_is
        )
        bar = tqdm(
            loader, total=settings.max_steps, initial=state.step, disable=quiet or rank > 0, mininterval=5.0
        )
        stopped_early = False
        for batch in bar:
            loss = state.update(wrapped, batch, device, rank)
            bar.set_postfix(loss=f"{loss:.3f}", eer=f"{state.best_eer:.4f}", refresh=False)
            last = state.step == settings.max_steps
            if last or state.step % settings.evaluate_every == 0:
                if rank == 0:
                    state.evaluate(heldout)
                stopped_early = _agree(state.evaluations_since_best >= settings.patience, device, world)
            if rank == 0 and (last or stopped_early or state.step % settings.checkpoint_every == 0):
                save(state.checkpoint(), run_dir / CHECKPOINT_NAME)
            if stopped_early:
                break
        return TrainResult(state.step, state.best_eer, run_dir / BEST_NAME, stopped_early)


def _open_folder(run_dir: Path, state: "_State", *, new: bool) -> None:
    """Leave in the folder what is true of the run as it stands: nothing of the one before it, where it is new."""
    if not new:
        state.write_history()
        return
    run_dir.mkdir(parents=True, exist_ok=True)
    # Stopped before its first checkpoint, this run would else go on as the one that lay here.
    for name in (CHECKPOINT_NAME, BEST_NAME, HISTORY_NAME):
        (run_dir / name).unlink(missing_ok=True)
    (run_dir / "config.json").write_text(json.dumps(asdict(state.experiment), indent=1, default=str) + "\n")


def _begun(experiment: Experiment, run_dir: Path) -> Checkpoint | None:
    """The experiment's run in that folder, if any; ConfigError where another one lies there."""
    path = run_dir / CHECKPOINT_NAME
    if not path.exists():
        return None
    saved = load(path)
    check_same_run(saved, experiment, run_dir)
    return saved


def leave_run(
    experiment: Experiment,
    network: SpoofNetwork,
    told: Mapping[str, object],
    history: Mapping[str, float],
    run_dir: Path,
) -> None:
    """Leave in `run_dir` what a finished run leaves, of a network that another command than training made."""
    done = finished(experiment, network, told, history)
    for name in (BEST_NAME, CHECKPOINT_NAME):
        save(done, run_dir / name)


def finished(
    experiment: Experiment, network: SpoofNetwork, told: Mapping[str, object], history: Mapping[str, float]
) -> Checkpoint:
    """The checkpoint of such a run."""
    weights = network.state_dict()
    return Checkpoint(
        experiment=experiment,
        step=experiment.train.max_steps,
        weights=weights,
        averaged_weights=weights,
        optimiser={},
        best_eer=history.get("heldout_eer", math.inf),
        evaluations_since_best=0,
        provenance=dict(told),
        history=(dict(history),) if history else (),
    )


def run_folder(runs: Path, experiment: Experiment) -> Path:
    """Where a run lies by default, and where one that starts from it looks for it."""
    return runs / f"{experiment.name}-seed{experiment.seed}"


def split_clips(experiment: Experiment) -> tuple[list[Clip], Split]:
    """The clips of the experiment's training split, and which of them are held out."""
    manifest = read_manifest(Path(experiment.data.manifest))
    clips = [clip for clip in manifest if clip.split == experiment.data.train_split]
    if not clips:
        raise ConfigError(f"{experiment.data.manifest} has no clips of the split {experiment.data.train_split!r}")
    grouped = with_fold_groups(clips)
    try:
        return grouped, hold_out(
            grouped,
            experiment.data.holdout_share,
            experiment.data.holdout_seed,
            disjoint_speakers=grouped != clips,
        )
    except ValueError as error:
        raise ConfigError(f"{experiment.data.manifest}: {error}") from error


def split_of_run(saved: Checkpoint, run_dir: Path) -> tuple[list[Clip], Split]:
    """`split_clips` of the experiment that made the run.

    Raises ConfigError where the manifest is not the one that it was trained on: clips that it was trained on might
    then count as held out.
    """
    found = split_clips(saved.experiment)
    manifest = Path(saved.experiment.data.manifest)
    if saved.provenance.get("manifest_sha256") != manifest_sha256(manifest):
        raise ConfigError(
            f"{manifest} has changed since {run_dir} was trained, so it no longer tells what was held out: bring it "
            "back, or train anew (--fresh)"
        )
    return found


def training_clips(experiment: Experiment, clips: Sequence[Clip], split: Split) -> list[Clip]:
    """Those of the training part, then the experiment's own renderings."""
    own = rendered_clips(experiment.data.renderings, Path(experiment.data.cache_dir))
    return [clips[i] for i in split.train] + own


def _start(
    experiment: Experiment, run_dir: Path, network: SpoofNetwork, saved: Checkpoint | None
) -> dict[str, object]:
    """The first weights of a new run, and what the provenance says of them; of one that goes on only that."""
    if saved is not None:  # it holds its own weights: the run it started from may be gone
        return {key: value for key, value in saved.provenance.items() if key == START_KEY}
    if not experiment.train.max_steps:
        raise ConfigError(
            f"{run_dir} holds no run, and {experiment.name!r} has no steps to train: another command makes it "
            "(ml.training.borrowed, ml.training.join), as its file says"
        )
    return starting_point(experiment, run_dir, network)


def starting_point(experiment: Experiment, run_dir: Path, network: SpoofNetwork) -> dict[str, object]:
    """Give the network the weights that the experiment starts from, if any, else those that it borrows; what the run's
    provenance says of them.

    ConfigError where that run is missing, has not ended, is of another network or held other clips out: those
    would no longer be held out here.
    """
    if not experiment.start_from:
        network.borrow(Path(experiment.data.cache_dir))
        return {}
    path = run_folder(run_dir.parent, replace(experiment, name=experiment.start_from)) / CHECKPOINT_NAME
    saved = load(path)
    first = saved.experiment
    if not saved.ended:
        raise ConfigError(f"{path} stands at step {saved.step} of {first.train.max_steps}: finish that run first")
    if first.architecture != experiment.architecture or _shape_of(first.model) != _shape_of(experiment.model):
        raise ConfigError(f"{path} is of another network: [model] must be that of {experiment.start_from}")
    held_out = ("manifest", "train_split", "holdout_share", "holdout_seed")
    for key in held_out:
        if getattr(first.data, key) != getattr(experiment.data, key):
            raise ConfigError(f"{path} held other clips out: data.{key} must be that of {experiment.start_from}")
    weights = {name: saved.averaged_weights.get(name, fresh) for name, fresh in network.state_dict().items()}
    network.load_state_dict(weights)
    return {START_KEY: {"experiment": first.name, "steps": saved.step, "provenance": saved.provenance}}


def _shape_of(model: Mapping[str, Any]) -> dict[str, Any]:
    """A model's table, and those of its members, without what a stage may change: where frame scores come from, and
    dropout."""
    members = {key: [_shape_of(one) for one in model[key]] for key in ("members", "recognisers") if key in model}
    return {key: value for key, value in model.items() if key not in ("frames", "dropout")} | members


def check_same_run(saved: Checkpoint, experiment: Experiment, run_dir: Path) -> None:
    """Refuse to go on with a run of another experiment or other data: its held-out part would not be held out.

    The length of the run, how often it reports and how much of the machine it takes may change. Raises ConfigError.
    """
    same_data = saved.provenance.get("manifest_sha256") == manifest_sha256(Path(experiment.data.manifest))
    one, other = (train_defaulted(value, (*OF_LENGTH, *OF_MACHINE)) for value in (saved.experiment, experiment))
    if not same_data or one != other:
        what = "experiment" if same_data else "manifest"
        raise ConfigError(
            f"{run_dir} holds a run of another {what}: give another folder (--out), or start anew (--fresh)"
        )


class Trainable(nn.Module):
    """The members of a network with the masking of training, as one module for DDP."""

    def __init__(self, network: SpoofNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, waveforms: Tensor, mask_bins: int, bf16: bool) -> list[Scores]:
        return self.network.each(waveforms, mask_bins, bf16)


class _State:
    """What changes from step to step, and how it is saved."""

    def __init__(
        self,
        experiment: Experiment,
        network: SpoofNetwork,
        settings: TrainConfig,
        run_dir: Path,
        provenance: dict[str, object],
    ) -> None:
        self.experiment, self.settings, self.run_dir, self.provenance = experiment, settings, run_dir, provenance
        self.network = network
        if settings.only_frames:
            network.requires_grad_(requires_grad=False)
            for part in network.frame_parts():
                part.requires_grad_(requires_grad=True)
        self.average = WeightAverage(network, settings.ema_decay)
        borrowed = {id(parameter) for parameter in network.borrowed()}
        parts: dict[float, list[nn.Parameter]] = {1.0: [], settings.borrowed_rate: []}
        for parameter in network.parameters():
            if parameter.requires_grad:
                parts[settings.borrowed_rate if id(parameter) in borrowed else 1.0].append(parameter)
        self.optimiser = torch.optim.AdamW(
            [{"params": part, "share": share} for share, part in parts.items() if part],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        self.splices: list[Spliced] | None = None  # of held-out clips, made when they are first judged
        self.step = 0
        self.best_eer = math.inf
        self.evaluations_since_best = 0
        self.history: list[dict[str, float]] = []
        self.losses: list[float] = []  # since the last evaluation; in a resumed run, since it was resumed

    def update(self, trainable: nn.Module, batch: Batch, device: torch.device, rank: int) -> float:
        """One optimiser step; the loss."""
        # Seeded by the step: a resumed run draws the same masks and dropout as one that never stopped.
        torch.manual_seed((self.experiment.seed * 1_000_003 + self.step) * MAX_PROCESSES + rank)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.settings, self.step) * group["share"]
        if self.settings.only_frames:  # normalisation and dropout of what is frozen stand still too
            self.network.eval()
            for part in self.network.frame_parts():
                part.train()
        else:
            self.network.train()
        on_device = Batch(
            *(part.to(device) for part in (batch.waveforms, batch.labels, batch.frame_labels, batch.paired))
        )
        if self.settings.mixup_alpha:
            on_device = mixed(on_device, self.settings.mixup_alpha)
        self.optimiser.zero_grad(set_to_none=True)
        losses = self._losses(trainable, on_device)
        # The sum: each member learns as fast as it would alone.
        losses.sum().backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it unannotated
        if self.settings.sharpness_radius:
            with climbed(self.network.members, self.settings.sharpness_radius):
                self.optimiser.zero_grad(set_to_none=True)
                self._losses(trainable, on_device).sum().backward()  # type: ignore[no-untyped-call]
        for member in self.network.members:
            nn.utils.clip_grad_norm_(member.parameters(), GRADIENT_NORM_MAX)
        self.optimiser.step()
        self.step += 1
        self.average.update(self.network, self.step)
        self.losses.append(float(losses.detach().mean()))
        return self.losses[-1]

    def _losses(self, trainable: nn.Module, batch: Batch) -> Tensor:
        """(members,)"""
        settings = self.settings
        each = trainable(batch.waveforms, settings.frequency_mask_bins, settings.precision == "bf16")
        return torch.stack([batch_loss(scores, batch, settings) for scores in each])

    def evaluate(self, heldout: WaveformStore) -> None:
        by_member, is_spoof = heldout_scores(self.average.network, heldout, bf16=self.settings.precision == "bf16")
        scores = by_member.mean(axis=1)
        eer, _ = equal_error_rate(scores.astype(np.float64), is_spoof)
        figures = {
            "step": float(self.step),
            "heldout_eer": eer,
            "heldout_auc": roc_auc(scores.astype(np.float64), is_spoof),
        }
        if by_member.shape[1] > 1:
            for number, own in enumerate(by_member.T):
                figures[f"heldout_auc_member{number}"] = roc_auc(own.astype(np.float64), is_spoof)
        kinds = np.array([clip.kind for clip in heldout.clips])
        by_kind = eer_by_kind(scores.astype(np.float64), is_spoof, kinds)
        figures |= {f"heldout_eer_{kind}": rate for kind, rate in by_kind.items()}
        watched = eer
        if self.settings.only_frames:
            if self.splices is None:
                self.splices = heldout_splices(heldout.clips)
            watched = segment_eer(self.average.network, self.splices)
            figures["heldout_segment_eer"] = watched
        self.history.append(figures | {"train_loss": float(np.mean(self.losses))})
        self.losses.clear()
        with (self.run_dir / HISTORY_NAME).open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.history[-1]) + "\n")
        if watched < self.best_eer:
            self.best_eer, self.evaluations_since_best = watched, 0
            save(self.checkpoint(), self.run_dir / BEST_NAME)
        else:
            self.evaluations_since_best += 1

    def write_history(self) -> None:
        """As the checkpoint has it: evaluations after it are done, and told, once more."""
        write_text(self.run_dir / HISTORY_NAME, "".join(f"{json.dumps(row)}\n" for row in self.history))

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(
            experiment=self.experiment,
            step=self.step,
            weights=self.network.state_dict(),
            averaged_weights=self.average.network.state_dict(),
            optimiser=self.optimiser.state_dict(),
            best_eer=self.best_eer,
            evaluations_since_best=self.evaluations_since_best,
            provenance=self.provenance,
            history=tuple(self.history),
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        self.network.load_state_dict(checkpoint.weights)
        self.average.network.load_state_dict(checkpoint.averaged_weights)
        self.optimiser.load_state_dict(checkpoint.optimiser)
        self.step, self.best_eer = checkpoint.step, checkpoint.best_eer
        self.evaluations_since_best = checkpoint.evaluations_since_best
        self.history = list(checkpoint.history)


def learning_rate(settings: TrainConfig, step: int) -> float:
    """Linear warm-up, then half a cosine down to zero at `max_steps`."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.max_steps - settings.warmup_steps)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def provenance(
    experiment: Experiment, split: Split, store: WaveformStore, heldout: WaveformStore
) -> dict[str, object]:
    return {
        "git_revision": git_revision(),
        "libraries": library_versions(),
        "machine": machine(),
        "manifest_sha256": manifest_sha256(Path(experiment.data.manifest)),
        "train_clips": len(store.clips),
        "heldout_clips": len(heldout.clips),
        "skipped": [*store.skipped, *heldout.skipped],
        "heldout_repositories": group_names(heldout.clips),
        "dropped_clips": len(split.dropped),
    }


def _as_is(batch: Any) -> Any:
    """In place of the loader's own collation: an item is a whole batch already."""
    return batch


def _device(rank: int) -> torch.device:
    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", rank)))
        if torch.cuda.is_available()
        else torch.device("cpu")
    )


@contextmanager
def _process_group() -> Iterator[tuple[int, int]]:
    """(rank, world size): torchrun's where it started this process, else (0, 1)."""
    if "WORLD_SIZE" not in os.environ:
        yield 0, 1
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    yield distributed.get_rank(), distributed.get_world_size()
    # Together: a process that tears its connections down after its peer has gone may wait for ever.
    distributed.barrier()
    distributed.destroy_process_group()


@contextmanager
def _one_process_first(world: int) -> Iterator[None]:
    """The first process of each host does it, the others wait and then find it done (what is decoded is kept)."""
    first = world == 1 or os.environ["LOCAL_RANK"] == "0"
    if not first:
        distributed.barrier()
    yield
    if world > 1 and first:
        distributed.barrier()


def _agree(stop: bool, device: torch.device, world: int) -> bool:
    """Rank 0's decision, known to every process."""
    if world == 1:
        return stop
    flag = torch.tensor([float(stop)], device=device)
    distributed.broadcast(flag, src=0)
    return bool(flag.item())
