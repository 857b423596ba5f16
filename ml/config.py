"""An experiment is a TOML file parsed into frozen dataclasses; an unknown key raises.

    experiment = load_experiment(Path("ml/experiments/baseline.toml"))
    experiment.train.batch_size

Tables of the file are the fields of `Experiment`; `[model]` belongs to the architecture that
`architecture` names and is parsed into that architecture's own config.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ml.augment import AugmentConfig
from ml.vocoders.config import VocoderConfig, VocoderTraining

T = TypeVar("T")


class ConfigError(ValueError):
    """An experiment file that can't be used; the message names the key."""


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Which clips, and how they are drawn. Paths are relative to the working directory."""

    manifest: str = "runs/manifests/earcorpus.csv"
    """Made by `python -m ml.datasets prepare`."""
    train_split: str = "train"
    noise_dir: str = "../shared/corpus/noise"
    """Empty: no recorded noise and no measured rooms."""
    holdout_share: float = 0.12
    """Share of source repositories kept out of training, for early stopping, calibration and thresholds."""
    holdout_seed: int = 1
    """Apart from the experiment's seed: runs of several seeds are compared on the same held-out clips."""
    source_balance: float = 0.5
    """A source set weighs its number of clips to this power, and so does a speaker or system within its set:
    1 draws every clip equally often, 0 every source set."""
    source_pairing: float = 1.0
    """1 draws each source set as often in both classes, so that a data set's voices don't tell them apart; 0 as often
    as it has clips of the class; between the two, the geometric mean of both."""
    calibration_folds: int = 5
    """Of the cross-validation by which calibration is judged; each needs both classes."""
    crop_s_min: float = 1.28
    crop_s_max: float = 3.04
    copy_share: float = 0.08
    """Share of the spoof half of a batch that is copy-synthesis of a bona fide clip of the same batch."""
    neural_share: float = 0.7
    """Of those copies, how many are by the experiment's neural vocoders, where it has any."""
    copies_per_clip: int = 3
    """By different vocoders, drawn for the clip; rendering takes about 60 ms each, by a published vocoder 2 s."""
    published_share: float = 1.0
    """Of the clips, how many have a copy by a published vocoder, where the experiment has any."""
    splice_share: float = 0.08
    """Share of the spoof half of a batch that is bona fide speech with synthetic stretches."""
    companion_donors: float = 0.0
    """Of the splices with published synthesis, how many take it from the same place as the bona fide clip (by the same
    speaker where there is one), where there is any."""
    renderings: int = 0
    """Clips by free synthesisers from before neural networks, rendered here and trained on beside the corpus's; needs
    espeak-ng and flite (`ml.training.renderings`)."""
    companion_share: float = 0.0
    """Share of the spoof half of a batch that comes from the same place as the bona fide clip beside it (by the same
    speaker where there is one), through the same channel: what the two have in common can't tell them apart."""
    passes: int = 1
    """Random crops of each clip, each through the augmentation, that heads on layers that stay are trained on
    (`ml.training.borrowed`), beside the clip as it lies."""
    cache_dir: str = "runs/cache"

    def __post_init__(self) -> None:
        shares = (self.copy_share, self.splice_share, self.companion_share)
        if min(shares) < 0.0 or sum(shares) > 1.0:
            raise ConfigError(
                "data.copy_share, splice_share and companion_share are parts of one half of a batch: 0 or more each, "
                "at most 1 in all"
            )
        if not 0.0 < self.holdout_share < 1.0:
            raise ConfigError(f"data.holdout_share must lie between 0 and 1, not {self.holdout_share}")
        if not 0.0 < self.crop_s_min <= self.crop_s_max:
            raise ConfigError("data.crop_s_min must be above 0 and no more than crop_s_max")
        if self.passes < 0:
            raise ConfigError(f"data.passes must be 0 or more, not {self.passes}")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    max_steps: int = 4000
    """0: nothing is trained step by step; another command makes the run."""
    batch_size: int = 32
    learning_rate: float = 1.5e-3
    borrowed_rate: float = 0.1
    """Learning rate of weights that others trained (`ml.models.recogniser`), as a share of that of the rest."""
    weight_decay: float = 0.02
    warmup_steps: int = 100
    label_smoothing: float = 0.02
    frame_loss_weight: float = 0.3
    rank_loss_weight: float = 0.0
    """Of the pairs of a batch (copies, splices, companions): each spoof clip is to score above the bona fide one beside
    it, whatever both score (RankNet's loss, Burges et al., 2005)."""
    only_frames: bool = False
    """Train what gives the frame scores and leave all else as it is: for a stage that starts from a trained run. The
    segment EER on spliced held-out clips is then watched instead of the EER."""
    relative_frames: bool = False
    """For frame scores without a mean (`frames = "own"`): the loss adds to those of a clip the log odds of its
    synthetic share (kept within 0.1 and 0.9), in the place of the clip's score."""
    one_class_weight: float = 0.0
    contrastive_weight: float = 0.0
    """Of two losses of the embedding; `ml.training.losses`."""
    mixup_alpha: float = 0.0
    """Every clip of a batch is mixed with another of its batch by Beta(alpha, alpha); 0 switches it off."""
    sharpness_radius: float = 0.0
    """Of sharpness-aware minimisation, which doubles the time of a step; 0 switches it off."""
    ema_decay: float = 0.998
    frequency_mask_bins: int = 24
    """Widest band that is blanked in the spectrogram of a training clip; 0 switches it off."""
    evaluate_every: int = 250
    patience: int = 8
    """Evaluations without a better held-out EER after which training stops."""
    checkpoint_every: int = 100
    precision: str = "fp32"
    """`fp32`, or `bf16` for mixed precision (GPUs, and CPUs with AVX-512 BF16)."""
    threads: int = 2
    loader_workers: int = 1

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "bf16"):
            raise ConfigError(f"train.precision must be fp32 or bf16, not {self.precision!r}")
        if self.batch_size < 2 or self.batch_size % 2:
            raise ConfigError("train.batch_size must be even: half of a batch is bona fide")
        if self.max_steps < 0:
            raise ConfigError(f"train.max_steps must be 0 or more, not {self.max_steps}")
        for name in ("evaluate_every", "checkpoint_every", "patience"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name} must be 1 or more, not {getattr(self, name)}")
        if self.learning_rate <= 0.0:
            raise ConfigError(f"train.learning_rate must be above 0, not {self.learning_rate}")
        if not 0.0 <= self.label_smoothing < 0.5:
            raise ConfigError(
                f"train.label_smoothing must be 0 or more and below 0.5, where both classes are the same, not "
                f"{self.label_smoothing}"
            )


OF_LENGTH = ("max_steps", "patience", "evaluate_every")
"""Keys of `[train]` that say how long a run may take: it may go on with others."""
OF_MACHINE = ("checkpoint_every", "threads", "loader_workers")
"""And those that change nothing but what the run costs this machine."""


@dataclass(frozen=True, slots=True)
class Experiment:
    name: str
    seed: int = 1
    start_from: str = ""
    """Name of an experiment whose run with this seed gives the first weights (the averaged ones of its end); its folder
    lies beside this run's. Empty: random weights."""
    architecture: str = "seresnet"
    model: Mapping[str, Any] = field(default_factory=dict)
    weight_bits: int = 32
    """Of the exported graph's matrices: 32 as they were trained, or 8 (`ml.export.rounding`)."""
    vocoders: tuple[VocoderConfig, ...] = ()
    """Neural vocoders that copy the bona fide training clips; trained before the network is."""
    vocoder_training: VocoderTraining = field(default_factory=VocoderTraining)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if self.weight_bits not in (8, 32):
            raise ConfigError(f"weight_bits must be 8 or 32, not {self.weight_bits}")
        names = [vocoder.name for vocoder in self.vocoders]
        if len(set(names)) < len(names):
            raise ConfigError("every vocoder needs a name of its own")


def train_defaulted(experiment: Experiment, keys: Sequence[str]) -> Experiment:
    """`experiment` with these keys of `[train]` at their defaults: for comparing what is left."""
    defaults = {key: getattr(TrainConfig(), key) for key in keys}
    return replace(experiment, train=replace(experiment.train, **defaults))


def load_experiment(path: Path, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment in a TOML file; `overrides` maps dotted keys (`train.max_steps`) to values.

    Raises ConfigError that names the file and the key.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"can't read the experiment {path}: {error}") from error
    for dotted, value in (overrides or {}).items():
        table = tables
        *parents, key = dotted.split(".")
        for parent in parents:
            table = table.setdefault(parent, {})
        table[key] = value
    try:
        return parse(Experiment, tables)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def parse(cls: type[T], table: Mapping[str, Any], where: str = "") -> T:
    """`table` as an instance of the dataclass `cls`, checked key by key and type by type."""
    hints = get_type_hints(cls)
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]  # T is a dataclass by contract
    if unknown := table.keys() - known:
        raise ConfigError(f"unknown key {where}{min(unknown)}; known here: {', '.join(sorted(known))}")
    values = {key: _convert(hints[key], value, f"{where}{key}") for key, value in table.items()}
    try:
        return cls(**values)
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where.rstrip('.') or 'experiment'}: {error}") from error


def _convert(hint: Any, value: Any, where: str) -> Any:  # one return a kind of type
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} must be a table")
        return parse(hint, value, f"{where}.")
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return None if value is None else _convert(next(a for a in args if a is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where} must be a list")
        element_types = [args[0]] * len(value) if args[-1] is Ellipsis else args
        if len(element_types) != len(value):
            raise ConfigError(f"{where} must hold {len(element_types)} values")
        return tuple(
            _convert(t, v, f"{where}[{i}]") for i, (t, v) in enumerate(zip(element_types, value, strict=True))
        )
    if origin is not None or hint is Any:  # Mapping[str, Any]: parsed by its owner
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where} must be of type {hint.__name__}, not {value!r}")
    return value
