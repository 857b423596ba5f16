"""`python -m ml.training --config FILE`: train, or go on with, an experiment.

Where it starts from another experiment (`start_from`), that one is looked for beside FILE and its run, with the same
seed and manifest, beside this run; it is trained first as far as it isn't.

Exit codes: 0 done, 2 the experiment or the data can't be used.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ml.config import ConfigError, Experiment, load_experiment
from ml.datasets.errors import DatasetError
from ml.training.train import CHECKPOINT_NAME, run_folder, train


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ml.training", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the experiment, a TOML file")
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/NAME-seedSEED)")
    parser.add_argument("--seed", type=int, help="instead of the experiment's")
    parser.add_argument("--max_steps", "--max-steps", type=int, help="instead of the experiment's")
    parser.add_argument("--manifest", help="instead of the experiment's")
    parser.add_argument("--fresh", action="store_true", help="start anew where a checkpoint exists")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args(arguments)
    overrides: dict[str, Any] = {
        key: value
        for key, value in (
            ("seed", options.seed),
            ("train.max_steps", options.max_steps),
            ("data.manifest", options.manifest),
        )
        if value is not None
    }
    try:
        experiment = load_experiment(options.config, overrides)
        out = options.out or run_folder(Path("runs"), experiment)
        begun = (out / CHECKPOINT_NAME).exists() and not options.fresh
        for first in [] if begun else stages_before(experiment, options.config):
            train(first, run_folder(out.parent, first), quiet=options.quiet)
        result = train(experiment, out, resume=not options.fresh, quiet=options.quiet)
    except (ConfigError, DatasetError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(asdict(result), default=str))
    else:
        what = "segment EER" if experiment.train.only_frames else "EER"
        why = f"held-out {what} stopped falling" if result.stopped_early else "all steps done"
        print(
            f"{result.steps} steps ({why}); best held-out {what} {result.best_eer:.2%}; weights in {result.best_path}"
        )
    return 0


def stages_before(experiment: Experiment, file: Path) -> list[Experiment]:
    """The experiments that it starts from, the first of all first, with its seed and manifest.

    Raises ConfigError where one is missing, has another name than its file or starts from what starts from it.
    """
    found: list[Experiment] = []
    while name := (found[0] if found else experiment).start_from:
        path = file.with_name(f"{name}.toml")
        stage = load_experiment(path, {"seed": experiment.seed, "data.manifest": experiment.data.manifest})
        if stage.name != name:
            raise ConfigError(f"{path} must be the experiment {name!r}, not {stage.name!r}")
        if name in {experiment.name, *(one.name for one in found)}:
            raise ConfigError(f"{path} starts from what starts from it")
        found.insert(0, stage)
    return found


if __name__ == "__main__":
    sys.exit(main())
