"""`python -m ml.export {candidate,again,promote,rollback}`: from a run to the shipped model.

Exit codes: 0 done, 1 a gate was not passed, 2 the run or its data can't be used.
"""

import argparse
import sys
from pathlib import Path

from earwitness.errors import ModelError
from ml.config import ConfigError, load_experiment
from ml.datasets.errors import DatasetError
from ml.evaluation.__main__ import add_scoring_options, clips_asked, evaluate_run
from ml.evaluation.card import read_card, write_card
from ml.evaluation.scores import EvaluationInputError
from ml.export.again import make_again
from ml.export.candidate import make_candidate
from ml.export.graph import ExportError
from ml.export.promote import check_ready, check_unheard, promote, rollback


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ml.export", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    candidate = commands.add_parser("candidate", help="export a run's best checkpoint, with a draft of its spec")
    candidate.add_argument("--run", type=Path, required=True)
    candidate.add_argument(
        "--checkpoint", choices=("best", "last"), default="best", help="by held-out EER, or the end's"
    )
    again = commands.add_parser("again", help="make a shipped model's graph anew: a calibrated candidate")
    again.add_argument("--graph", type=Path, default=Path("models/audio/latest.onnx"))
    again.add_argument("--config", type=Path, required=True, help="the experiment that trained it")
    again.add_argument("--seed", type=int, help="instead of the experiment's")
    again.add_argument("--manifest", help="instead of the experiment's; tells what was trained on")
    again.add_argument("--run", type=Path, required=True, help="a new folder")
    promoting = commands.add_parser("promote", help="check a calibrated candidate and make it the shipped model")
    promoting.add_argument("--models", type=Path, default=Path("models/audio"))
    promoting.add_argument("--card", type=Path, help="the model card whose figures are then written anew")
    promoting.add_argument(
        "--allow-worse",
        action="store_true",
        help="also where the shipped model is better, or was evaluated on other clips",
    )
    promoting.add_argument(
        "--accurate",
        action="store_true",
        help="beside the shipped model, as `accurate`: up to 25 MB, 2 points better",
    )
    add_scoring_options(promoting, run_required=True)
    rolling = commands.add_parser("rollback", help="exchange the shipped model and the one before it")
    rolling.add_argument("--models", type=Path, default=Path("models/audio"))
    options = parser.parse_args(arguments)
    try:
        match options.command:
            case "candidate":
                made = make_candidate(options.run, f"{options.checkpoint}.pt")
                print(f"{made.graph}: largest difference to PyTorch {made.parity.largest_difference:.1e}")
            case "again":
                told = {"seed": options.seed, "data.manifest": options.manifest}
                overrides = {key: value for key, value in told.items() if value is not None}
                made = make_again(options.graph, load_experiment(options.config, overrides), options.run)
                print(f"{made.graph}: says what {options.graph} says; promote it with --run {options.run}")
            case "promote":
                check_ready(options.run, accurate=options.accurate)  # before hours of scoring
                if options.card:
                    read_card(options.card)
                check_unheard(options.run, clips_asked(options))
                report = evaluate_run(options)
                done = promote(
                    options.run, options.models, report, allow_worse=options.allow_worse, accurate=options.accurate
                )
                if options.card:
                    write_card(options.card, report, done.spec)
                print(
                    f"{done.spec.model_version} is shipped; largest difference to PyTorch "
                    f"{done.parity.largest_difference:.1e}, {done.latency_ms:.1f} ms a window on one thread"
                )
            case _:
                print(f"{rollback(options.models).model_version} is shipped again")
    except ExportError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    except (ConfigError, DatasetError, EvaluationInputError, ModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
