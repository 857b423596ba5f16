"""`python -m ml.training.compare --config FILE`: one ingredient at a time, in short runs of several seeds.

    base = "base.toml"          # an experiment beside FILE
    seeds = [1, 2, 3]
    conditions = ["clean", "noise_10db"]

    [variants."log-mel"]                # what it has other than the base, by dotted keys
    "model.frontend.kind" = "mel"

Prints a table for docs/experiments.md: held-out figures of each variant, mean and spread over the seeds. Runs that
are done are not repeated, so the command can be stopped and called again. Exit codes: 0 done, 2 a file can't be used.
"""

import argparse
import hashlib
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ml.config import OF_MACHINE, ConfigError, DataConfig, Experiment, load_experiment, parse, train_defaulted
from ml.datasets.errors import DatasetError
from ml.datasets.manifest import manifest_sha256
from ml.evaluation.atomic_write import write_text
from ml.evaluation.conditions import CONDITIONS
from ml.evaluation.metrics import eer_by_kind, equal_error_rate, roc_auc
from ml.evaluation.scores import CLEAN
from ml.training.checkpoint import load, load_network
from ml.training.inference import judge_waveforms
from ml.training.store import WaveformStore
from ml.training.train import CHECKPOINT_NAME, split_clips, train

BASE = "base"
RESULT_NAME = "compared.json"
KEY, FIGURES = "experiment_sha256", "figures"
Figures = dict[str, float]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Comparison:
    base: str
    seeds: tuple[int, ...]
    variants: Mapping[str, Any] = field(default_factory=dict)
    """Name to dotted keys and their values."""
    conditions: tuple[str, ...] = (CLEAN,)

    def __post_init__(self) -> None:
        if unknown := set(self.conditions) - set(CONDITIONS):
            raise ConfigError(f"unknown condition {min(unknown)}; known: {', '.join(CONDITIONS)}")
        if not self.seeds:
            raise ConfigError("seeds must name at least one")
        if BASE in self.variants:
            raise ConfigError(f"no variant may be called {BASE!r}: it is run in any case")


def load_comparison(path: Path) -> Comparison:
    """Raises ConfigError that names the file and the key."""
    try:
        return parse(Comparison, tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from error


def run_one(experiment: Experiment, out: Path, conditions: Sequence[str], *, quiet: bool = False) -> Figures:
    """Train (or go on with) one run and score its held-out part; what was scored before is read and not redone.

    Raises ConfigError where the folder holds a run of another experiment, as when a comparison's base has changed.
    """
    result = out / RESULT_NAME
    key, begun = _key(experiment), out / CHECKPOINT_NAME
    kept = json.loads(result.read_text(encoding="utf-8")) if result.exists() else None
    if (kept is not None and kept.get(KEY) != key) or (
        kept is None and begun.exists() and _figures_of(load(begun).experiment) != _figures_of(experiment)
    ):
        raise ConfigError(
            f"{out} holds a run of another experiment or manifest: give another folder (--out), or remove it"
        )
    figures: Figures = {} if kept is None else kept[FIGURES]
    if all(f"auc {name}" in figures for name in conditions):
        return figures
    train(experiment, out, quiet=quiet)
    network, _ = load_network(load(out / CHECKPOINT_NAME))
    clips, split = split_clips(experiment)
    store = WaveformStore.open_or_build([clips[i] for i in split.heldout], Path(experiment.data.cache_dir))
    is_spoof = np.array([clip.is_spoof for clip in store.clips])
    kinds = np.array([clip.kind for clip in store.clips])
    for name in conditions:
        rng = np.random.default_rng(1)  # the same noises and rooms for every run
        worse = [CONDITIONS[name](store.waveform(i), rng) for i in range(len(store.clips))]
        score = judge_waveforms(network, worse, bf16=experiment.train.precision == "bf16").score.astype(np.float64)
        figures |= told_apart(name, score, is_spoof)
        if name == CLEAN:
            figures |= {f"eer {kind}": rate for kind, rate in eer_by_kind(score, is_spoof, kinds).items()}
    write_text(result, json.dumps({KEY: key, FIGURES: figures}, indent=1) + "\n")
    return figures


def _figures_of(experiment: Experiment) -> Experiment:
    """All of it that decides the figures: of what `check_same_run` lets change that is how long it trains, too."""
    anywhere = replace(experiment, data=replace(experiment.data, cache_dir=DataConfig().cache_dir))
    return train_defaulted(anywhere, OF_MACHINE)


def _key(experiment: Experiment) -> str:
    told = json.dumps(asdict(_figures_of(experiment)), sort_keys=True, default=str)
    return hashlib.sha256(f"{told} {manifest_sha256(Path(experiment.data.manifest))}".encode()).hexdigest()


def told_apart(condition: str, score: NDArray[np.float64], is_spoof: NDArray[np.bool_]) -> Figures:
    """The two figures of a condition that every comparison prints."""
    return {
        f"auc {condition}": roc_auc(score, is_spoof),
        f"eer {condition}": equal_error_rate(score, is_spoof)[0],
    }


def chosen(variants: Mapping[str, T], only: Sequence[str] | None) -> dict[str, T]:
    """The base and those of `only`, or all. Raises ConfigError for a name that is none of theirs."""
    named = [name for name in variants if name != BASE]
    if unknown := set(only or ()) - set(named):
        raise ConfigError(f"no variant {min(unknown)!r}; there are: {', '.join(named)}")
    return {name: variant for name, variant in variants.items() if name == BASE or name in (only or named)}


def table(results: Mapping[str, Sequence[Figures]]) -> str:
    """Markdown: a row a variant, a column a figure that all of them have; AUC and EER in %, `mean (least to most)`."""
    columns = [
        key for key in next(iter(results.values()))[0] if all(key in f for r in results.values() for f in r)
    ]

    def cell(values: Sequence[float]) -> str:
        spread = f" ({100 * min(values):.1f} to {100 * max(values):.1f})" if len(values) > 1 else ""
        return f"{100 * float(np.mean(values)):.1f}{spread}"

    lines = [f"| variant | seeds | {' | '.join(columns)} |", "| --- " * (len(columns) + 2) + "|"]
    for name, found in results.items():
        cells = " | ".join(cell([figures[key] for figures in found]) for key in columns)
        lines.append(f"| {name} | {len(found)} | {cells} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ml.training.compare", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the comparison, a TOML file")
    parser.add_argument("--out", type=Path, default=Path("runs/compare"), help="folder of its runs")
    parser.add_argument("--manifest", help="instead of the base experiment's")
    parser.add_argument("--only", nargs="*", help="these variants, and the base")
    parser.add_argument("--seeds", type=int, nargs="*", help="instead of the file's")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    options = parser.parse_args(arguments)
    try:
        comparison = load_comparison(options.config)
        variants: dict[str, Any] = chosen({BASE: {}, **comparison.variants}, options.only)
        seeds = options.seeds or comparison.seeds
        file = options.config.with_name(comparison.base)
        data = {} if options.manifest is None else {"data.manifest": options.manifest}
        # Every experiment is read before the first is run: a wrong key is told now and not in the small hours.
        runs = {
            name: [load_experiment(file, {**data, **changes, "seed": seed}) for seed in seeds]
            for name, changes in variants.items()
        }
        results: dict[str, list[Figures]] = {name: [] for name in runs}
        for number, seed in enumerate(seeds):  # a seed of everything first: a table can be had early
            for name, experiments in runs.items():
                out = options.out / f"{name.replace(' ', '-')}-seed{seed}"
                results[name].append(run_one(experiments[number], out, comparison.conditions, quiet=options.quiet))
                print(f"{name}, seed {seed}: {json.dumps(results[name][-1])}", file=sys.stderr, flush=True)
    except (ConfigError, DatasetError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
