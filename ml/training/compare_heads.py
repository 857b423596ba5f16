"""`python -m ml.training.compare_heads --config FILE --run RUN`: one ingredient of the heads at a time, out of fold.

    seeds = [1, 2, 3]
    folds = 3

    [variants."four passes"]                    # what it has other than the shipped recipe
    passes = 4                                  # what heads are trained on and judged by (`Variant`)
    recipe = { steps = 3000 }                   # how one is trained (`ml.training.heads.HeadRecipe`)

Heads are trained on statistics of the encoder of a finished run of `ml.training.borrowed`, in folds of whole source
repositories; of what a fold is trained on, spoof clips by systems that it judges are left out. So all training clips of
the corpus are judged, by heads that knew neither place nor system, as they lie and through a pass of the augmentation
that no head was trained on; own renderings are trained on in every fold and judged in none. Prints a table for
docs/experiments.md, mean and spread over the seeds, of those that are done where it is interrupted. Statistics are kept
in the run's cache, heads are not: a variant takes minutes a seed. Exit codes: 0 done, 2 a file can't be used.
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from earwitness.errors import ModelError
from ml.augment import NoiseBank
from ml.config import ConfigError, Experiment, parse
from ml.datasets.errors import DatasetError
from ml.datasets.manifest import UNKNOWN, Clip, read_manifest
from ml.evaluation.metrics import eer_by_kind
from ml.evaluation.scores import CLEAN
from ml.models import SpoofNetwork
from ml.training.batches import load_bank
from ml.training.borrowed import AUGMENTED, CROPPED, CROPS, HEADS, RECIPE, Work, listener, statistics_of
from ml.training.checkpoint import load, load_network
from ml.training.compare import BASE, Figures, chosen, table, told_apart
from ml.training.heads import UNKNOWN_GROUP, HeadRecipe, train_head
from ml.training.renderings import SOURCE
from ml.training.sampling import draw_weights, with_fold_groups
from ml.training.store import WaveformStore
from ml.training.train import CHECKPOINT_NAME, split_clips, training_clips

JOBS = 2


@dataclass(frozen=True, slots=True)
class Variant:
    """What heads are trained on and judged by, and how they are trained."""

    recipe: HeadRecipe = field(default_factory=lambda: RECIPE)
    passes: int | None = None
    """Random crops of each clip through the augmentation, beside the clip as it lies; None: as many as the experiment's
    `data.passes`."""
    source_balance: float = 1.0
    source_pairing: float = 0.0
    """`ml.training.sampling.draw_weights`; as they are here every clip of a class is drawn as often."""
    crops: bool = False
    """At test time the mean over crops (`ml.training.borrowed.CROPS` of them) in the place of the whole clip."""

    def __post_init__(self) -> None:
        if self.passes is not None and self.passes < 0:
            raise ConfigError("passes must be 0 or more")

    def passes_of(self, experiment: Experiment) -> int:
        return experiment.data.passes if self.passes is None else self.passes

    @property
    def even(self) -> bool:
        return self.source_balance == 1.0 and not self.source_pairing


@dataclass(frozen=True, slots=True)
class HeadComparison:
    seeds: tuple[int, ...]
    folds: int = 3
    variants: Mapping[str, Any] = field(default_factory=dict)
    """Name to the keys of `Variant` and their values."""

    def __post_init__(self) -> None:
        if not self.seeds or self.folds < 2:
            raise ConfigError("seeds must name at least one, and folds must be 2 or more")
        if BASE in self.variants:
            raise ConfigError(f"no variant may be called {BASE!r}: it is run in any case")

    def parsed(self) -> dict[str, Variant]:
        """By name, the shipped one first. Raises ConfigError that names the variant."""
        found = {BASE: Variant()}
        for name, keys in self.variants.items():
            if not isinstance(keys, Mapping):
                raise ConfigError(f"variants.{name} must be a table")
            try:
                found[name] = parse(Variant, keys)
            except ConfigError as error:
                raise ConfigError(f"variants.{name}: {error}") from error
        return found


def load_comparison(path: Path) -> tuple[HeadComparison, dict[str, Variant]]:
    """Raises ConfigError that names the file and the key."""
    try:
        comparison = parse(HeadComparison, tomllib.loads(path.read_text(encoding="utf-8")))
        return comparison, comparison.parsed()
    except (OSError, tomllib.TOMLDecodeError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from error


def folds_of(clips: Sequence[Clip], count: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Which clips are trained on and which are judged, `count` times; every clip of the corpus is judged once.

    Folds are whole source repositories; own renderings belong to none and are trained on in each. Raises ConfigError
    where the clips can't be folded so.
    """
    own = np.array([i for i, clip in enumerate(clips) if clip.source_repo == SOURCE], dtype=np.intp)
    published = np.array([i for i, clip in enumerate(clips) if clip.source_repo != SOURCE], dtype=np.intp)
    is_spoof = np.array([clip.is_spoof for clip in clips])
    repositories = np.array([clips[i].source_repo for i in published])
    lineages = np.array([clip.lineage for clip in clips])
    if len(set(repositories)) < count:
        raise ConfigError(f"{count} folds need as many source repositories, got {len(set(repositories))}")
    found = []
    splitter = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=1)
    try:
        splits = list(splitter.split(published, is_spoof[published], repositories))
    except ValueError as error:  # more folds than clips of a class
        raise ConfigError(f"the clips can't be folded: {error}") from error
    for rest, part in splits:
        judged = published[part]
        heard = set(lineages[judged][is_spoof[judged]]) - {UNKNOWN}
        kept = [i for i in (*published[rest], *own) if not (is_spoof[i] and lineages[i] in heard)]
        if len(set(is_spoof[kept])) < 2 or len(set(is_spoof[judged])) < 2:
            raise ConfigError(f"{count} folds leave one of them without clips of both classes: use fewer")
        found.append((np.array(kept, dtype=np.intp), judged))
    return found


@dataclass(frozen=True, slots=True)
class _Material:
    """The training clips, their folds, and what the encoder says of them in any rendition."""

    experiment: Experiment
    network: SpoofNetwork
    store: WaveformStore
    bank: NoiseBank
    folds: Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]]
    unheard: str
    """The rendition that no head is trained on."""
    jobs: int

    def statistics(self, rendition: str) -> NDArray[np.float32]:
        work = Work(self.store, rendition, self.experiment, self.bank)
        return statistics_of(work, self.network, Path(self.experiment.data.cache_dir), self.jobs)

    def groups(self, kind: str) -> NDArray[np.intp]:
        names = [getattr(clip, kind) for clip in self.store.clips]
        number = {name: i for i, name in enumerate(sorted(set(names) - {UNKNOWN}))}
        return np.array([number.get(name, UNKNOWN_GROUP) for name in names], dtype=np.intp)


def judge(material: _Material, variant: Variant, seed: int) -> Figures:
    """Figures over the clips of the corpus, each judged by a head that did not know its repository or its system."""
    clips = material.store.clips
    is_spoof = np.array([clip.is_spoof for clip in clips])
    names = [CLEAN, *(f"{AUGMENTED}-{number}" for number in range(variant.passes_of(material.experiment)))]
    passes = [material.statistics(name) for name in names]
    judged_as = {CLEAN: [passes[0]], AUGMENTED: [material.statistics(material.unheard)]}
    if variant.crops:
        judged_as[CLEAN] = [material.statistics(f"{CROPPED}-{number}") for number in range(CROPS)]
    groups = material.groups(variant.recipe.adversary) if variant.recipe.adversary else None
    shipped = listener(material.network).head
    logits = {name: np.zeros(len(clips)) for name in judged_as}
    for trained, judged in material.folds:
        rows = [clips[i] for i in trained]
        drawn = None if variant.even else draw_weights(rows, variant.source_balance, variant.source_pairing)
        head = train_head(
            np.concatenate([heard[trained] for heard in passes]),
            np.tile(is_spoof[trained], len(passes)),
            seed,
            embedding=shipped.project.out_features // HEADS,
            dropout=shipped.dropout.p,
            recipe=variant.recipe,
            drawn=None if drawn is None else np.tile(drawn, len(passes)),
            groups=None if groups is None else np.tile(groups[trained], len(passes)),
        )
        with torch.no_grad():
            for name, heard in judged_as.items():
                said = [head(torch.from_numpy(one[judged]))[0].double().numpy() for one in heard]
                logits[name][judged] = np.mean(said, axis=0)
    published = np.concatenate([judged for _, judged in material.folds])
    kinds = np.array([clip.kind for clip in clips])[published]
    figures: Figures = {}
    for name, score in logits.items():
        figures |= told_apart(name, score[published], is_spoof[published])
    by_kind = eer_by_kind(logits[CLEAN][published], is_spoof[published], kinds)
    return figures | {f"eer {kind}": rate for kind, rate in by_kind.items()}


def _material(options: argparse.Namespace, comparison: HeadComparison, variants: Sequence[Variant]) -> _Material:
    """Raises ConfigError where the run is none that heads can be compared on."""
    saved = load(options.run / CHECKPOINT_NAME)
    experiment = saved.experiment
    if options.manifest is not None:
        experiment = replace(experiment, data=replace(experiment.data, manifest=options.manifest))
    network, _ = load_network(saved)
    listener(network)
    if experiment.start_from:
        raise ConfigError(f"the encoder of {options.run} was trained on the clips that it would be judged by")
    if experiment.vocoders:
        raise ConfigError(f"heads of {options.run} are trained on copies too, which are not compared")
    published = [
        c for c in read_manifest(Path(experiment.data.manifest)) if c.split == experiment.data.train_split
    ]
    if with_fold_groups(published) != published:
        raise ConfigError(
            f"{experiment.data.manifest} comes from too few source repositories to be folded by them"
        )
    clips, split = split_clips(experiment)
    store = WaveformStore.open_or_build(training_clips(experiment, clips, split), Path(experiment.data.cache_dir))
    return _Material(
        experiment=experiment,
        network=network,
        store=store,
        bank=load_bank(experiment.data.noise_dir, store),
        folds=folds_of(store.clips, comparison.folds),
        unheard=f"{AUGMENTED}-{max(variant.passes_of(experiment) for variant in variants)}",
        jobs=options.jobs,
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ml.training.compare_heads",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, required=True, help="the comparison, a TOML file")
    parser.add_argument(
        "--run", type=Path, required=True, help="a run of ml.training.borrowed, whose encoder is used"
    )
    parser.add_argument("--manifest", help="instead of the run's")
    parser.add_argument("--only", nargs="*", help="these variants, and the base")
    parser.add_argument("--seeds", type=int, nargs="*", help="instead of the file's")
    parser.add_argument("--jobs", type=int, default=JOBS, help="processes that listen")
    options = parser.parse_args(arguments)
    try:
        comparison, variants = load_comparison(options.config)
        compared = chosen(variants, options.only)
        material = _material(options, comparison, list(variants.values()))
    except (ConfigError, DatasetError, ModelError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    results: dict[str, list[Figures]] = {}
    torch.set_flush_denormal(True)  # moments of weights that decayed to nothing make a step ten times as long
    try:
        for seed in options.seeds or comparison.seeds:  # a seed of everything first: a table can be had early
            for name, variant in compared.items():
                results.setdefault(name, []).append(judge(material, variant, seed))
                print(f"{name}, seed {seed}: {json.dumps(results[name][-1])}", file=sys.stderr, flush=True)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        torch.set_flush_denormal(False)
        if results:
            print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
