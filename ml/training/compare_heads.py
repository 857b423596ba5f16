"""`python -m ml.training.compare_heads --config FILE --run RUN`: one ingredient of the heads at a time, out of fold.

    experiment = "../listener_light.toml"       # beside FILE: whose encoder, clips and augmentation
    seeds = [1, 2, 3]
    folds = 3

    [variants.mixup]                            # what a recipe has other than the shipped one (`ml.training.heads`)
    mixup_alpha = 0.4

Heads are trained on statistics of the encoder of a finished run, in folds of whole source repositories; of what a fold
is trained on, spoof clips by systems that it judges are left out. So all training clips are judged, by heads that knew
neither place nor system, as they lie and through a pass of the augmentation that no head was trained on. Prints a table
for docs/experiments.md, mean and spread over the seeds. Statistics are kept in the experiment's cache, heads are not:
a variant takes a minute or two. Exit codes: 0 done, 2 a file can't be used.
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from earwitness.errors import ModelError
from ml.config import ConfigError, Experiment, load_experiment, parse
from ml.datasets.errors import DatasetError
from ml.datasets.manifest import UNKNOWN, Clip
from ml.evaluation.metrics import eer_by_kind, equal_error_rate, roc_auc
from ml.evaluation.scores import CLEAN
from ml.models import SpoofNetwork
from ml.training.batches import load_bank
from ml.training.borrowed import AUGMENTED, CROPPED, CROPS, Work, listener, statistics_of
from ml.training.checkpoint import load, load_network
from ml.training.compare import BASE, Figures, table
from ml.training.heads import UNKNOWN_GROUP, HeadRecipe, train_head
from ml.training.renderings import SOURCE
from ml.training.sampling import draw_weights
from ml.training.store import WaveformStore
from ml.training.train import CHECKPOINT_NAME, split_clips, training_clips

EMBEDDING = 64
"""Of one head; the shipped ones have fewer, and three are joined."""
JOBS = 2

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class HeadComparison:
    experiment: str
    seeds: tuple[int, ...]
    folds: int = 3
    variants: Mapping[str, Any] = field(default_factory=dict)
    """Name to the keys of `HeadRecipe` and their values."""

    def __post_init__(self) -> None:
        if not self.seeds or self.folds < 2:
            raise ConfigError("seeds must name at least one, and folds must be 2 or more")
        if BASE in self.variants:
            raise ConfigError(f"no variant may be called {BASE!r}: it is run in any case")

    def recipes(self) -> dict[str, HeadRecipe]:
        """By name, the shipped one first. Raises ConfigError that names the key."""
        return {
            BASE: HeadRecipe(),
            **{name: parse(HeadRecipe, keys, f"variants.{name}.") for name, keys in self.variants.items()},
        }


def load_comparison(path: Path) -> tuple[HeadComparison, dict[str, HeadRecipe]]:
    """Raises ConfigError that names the file and the key."""
    try:
        comparison = parse(HeadComparison, tomllib.loads(path.read_text(encoding="utf-8")))
        return comparison, comparison.recipes()
    except (OSError, tomllib.TOMLDecodeError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from error


def folds_of(clips: Sequence[Clip], count: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Which clips are trained on and which are judged, `count` times; every clip is judged once.

    Folds are whole source repositories. Raises ConfigError where there are fewer repositories than folds.
    """
    is_spoof = np.array([clip.is_spoof for clip in clips])
    repositories = np.array([clip.source_repo for clip in clips])
    if len(set(repositories)) < count:
        raise ConfigError(f"{count} folds need as many source repositories, got {len(set(repositories))}")
    lineages = np.array([clip.lineage for clip in clips])
    splitter = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=1)
    for trained, judged in splitter.split(is_spoof, is_spoof, repositories):
        heard = set(lineages[judged][is_spoof[judged]]) - {UNKNOWN}
        kept = [i for i in trained if not (is_spoof[i] and lineages[i] in heard)]
        yield np.array(kept, dtype=np.intp), judged


@dataclass(frozen=True, slots=True)
class _Material:
    """The training clips, and what the encoder says of them in any rendition."""

    experiment: Experiment
    network: SpoofNetwork
    store: WaveformStore
    jobs: int

    def statistics(self, rendition: str) -> NDArray[np.float32]:
        data = self.experiment.data
        work = Work(self.store, rendition, self.experiment, load_bank(data.noise_dir, self.store))
        return statistics_of(work, self.network, Path(data.cache_dir), self.jobs)

    def groups(self, kind: str) -> NDArray[np.intp]:
        names = [getattr(clip, kind) for clip in self.store.clips]
        number = {name: i for i, name in enumerate(sorted(set(names) - {UNKNOWN}))}
        return np.array([number.get(name, UNKNOWN_GROUP) for name in names], dtype=np.intp)


def judge(material: _Material, recipe: HeadRecipe, seed: int, folds: int, unheard: str) -> Figures:
    """Figures over all clips of the corpus, each judged by a head that did not know its repository or its system."""
    clips = material.store.clips
    is_spoof = np.array([clip.is_spoof for clip in clips])
    passes = [
        material.statistics(name)
        for name in (CLEAN, *(f"{AUGMENTED}-{number}" for number in range(recipe.passes)))
    ]
    judged_as = {CLEAN: [passes[0]], AUGMENTED: [material.statistics(unheard)]}
    if recipe.crops:
        judged_as[CLEAN] = [material.statistics(f"{CROPPED}-{number}") for number in range(CROPS)]
    groups = material.groups(recipe.adversary) if recipe.adversary else None
    evenly = recipe.source_balance == 1.0 and not recipe.source_pairing
    logits = {name: np.zeros(len(clips)) for name in judged_as}
    for trained, judged in folds_of(clips, folds):
        rows = [clips[i] for i in trained]
        drawn = None if evenly else draw_weights(rows, recipe.source_balance, recipe.source_pairing)
        head = train_head(
            np.concatenate([heard[trained] for heard in passes]),
            np.tile(is_spoof[trained], len(passes)),
            seed,
            embedding=EMBEDDING,
            recipe=recipe,
            drawn=None if drawn is None else np.tile(drawn, len(passes)),
            groups=None if groups is None else np.tile(groups[trained], len(passes)),
        )
        with torch.no_grad():
            for name, heard in judged_as.items():
                said = [head(torch.from_numpy(one[judged]))[0].double().numpy() for one in heard]
                logits[name][judged] = np.mean(said, axis=0)
    published = np.array(
        [clip.source_repo != SOURCE for clip in clips]
    )  # own renderings are not what is judged by
    kinds = np.array([clip.kind for clip in clips])[published]
    figures = {}
    for name, score in logits.items():
        figures[f"auc {name}"] = roc_auc(score[published], is_spoof[published])
        figures[f"eer {name}"] = equal_error_rate(score[published], is_spoof[published])[0]
    by_kind = eer_by_kind(logits[CLEAN][published], is_spoof[published], kinds)
    return figures | {f"eer {kind}": rate for kind, rate in by_kind.items()}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ml.training.compare_heads",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, required=True, help="the comparison, a TOML file")
    parser.add_argument("--run", type=Path, required=True, help="a run of its experiment, whose encoder is used")
    parser.add_argument("--manifest", help="instead of the experiment's")
    parser.add_argument("--only", nargs="*", help="these variants, and the base")
    parser.add_argument("--jobs", type=int, default=JOBS, help="processes that listen")
    options = parser.parse_args(arguments)
    try:
        comparison, recipes = load_comparison(options.config)
        if unknown := set(options.only or ()) - set(comparison.variants):
            raise ConfigError(f"no variant {min(unknown)!r}; there are: {', '.join(comparison.variants)}")
        chosen = {name: recipes[name] for name in recipes if name == BASE or name in (options.only or recipes)}
        data = {} if options.manifest is None else {"data.manifest": options.manifest}
        experiment = load_experiment(options.config.parent / comparison.experiment, data)
        network, _ = load_network(load(options.run / CHECKPOINT_NAME))
        listener(network)
        clips, split = split_clips(experiment)
        store = WaveformStore.open_or_build(
            training_clips(experiment, clips, split), Path(experiment.data.cache_dir)
        )
        next(folds_of(store.clips, comparison.folds))  # too few repositories are told now
    except (ConfigError, DatasetError, ModelError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    material = _Material(experiment, network, store, options.jobs)
    unheard = f"{AUGMENTED}-{max(recipe.passes for recipe in recipes.values())}"
    results: dict[str, list[Figures]] = {name: [] for name in chosen}
    torch.set_flush_denormal(True)  # moments of weights that decayed to nothing make a step ten times as long
    try:
        for name, recipe in chosen.items():
            for seed in comparison.seeds:
                results[name].append(judge(material, recipe, seed, comparison.folds, unheard))
                print(f"{name}, seed {seed}: {json.dumps(results[name][-1])}", file=sys.stderr, flush=True)
    finally:
        torch.set_flush_denormal(False)
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
