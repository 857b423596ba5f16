"""`python -m ml.evaluation {evaluate,calibrate}`: score, judge and report a model; fit its calibration.

Exit codes: 0 done, 2 the model or the data can't be used.
"""

import argparse
import sys
from pathlib import Path

from earwitness.errors import ModelError
from earwitness.model_spec import PROFILES, model_path
from ml.config import ConfigError
from ml.datasets.errors import DatasetError
from ml.datasets.manifest import Clip, read_manifest
from ml.evaluation.asv_scores import read_asv_rates
from ml.evaluation.calibrate_run import calibrate
from ml.evaluation.calibrate_thresholds import ThresholdGoal
from ml.evaluation.chance import measure, write_chance
from ml.evaluation.conditions import ALL_CONDITIONS, CONDITIONS, GOAL_CONDITIONS, ROBUSTNESS
from ml.evaluation.evaluate_model import Extras, Report, evaluate
from ml.evaluation.scored_split import ScoringOptions, scored_split
from ml.evaluation.scores import CLEAN, EvaluationInputError
from ml.export.candidate import CANDIDATE, MODEL_NAME
from ml.training.checkpoint import load
from ml.training.sampling import with_fold_groups
from ml.training.train import BEST_NAME, split_of_run

SPLICES = 200  # some 4,500 frames: the EER's standard error is about a point


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ml.evaluation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    evaluating = commands.add_parser(
        "evaluate", help="print every figure of a model on a split, and write the report"
    )
    add_scoring_options(evaluating)
    evaluating.add_argument(
        "--model",
        help=f"without --run: {' or '.join(PROFILES)}, or a graph's path (default: the shipped default)",
    )
    calibrating = commands.add_parser("calibrate", help="fit a candidate's calibration, thresholds and OOD limit")
    calibrating.add_argument("--run", type=Path, required=True)
    calibrating.add_argument("--jobs", type=int, default=2)
    calibrating.add_argument("--quiet", action="store_true", help="no progress bar")
    calibrating.add_argument("--fresh", action="store_true", help="score anew what was scored before")
    calibrating.add_argument("--max-bonafide-called-deepfake", type=float, default=0.02)
    calibrating.add_argument("--max-spoof-called-authentic", type=float, default=0.05)
    calibrating.add_argument("--max-bonafide-called-deepfake-degraded", type=float, default=0.04)
    calibrating.add_argument(
        "--conditions",
        default="all",
        help=f"where the last rate is to hold: comma list of {', '.join(GOAL_CONDITIONS)}, or `all`; `clean`: nowhere",
    )
    calibrating.add_argument(
        "--certainty", type=float, default=0.0, help="confidence that the true rates are within (0: as observed)"
    )
    calibrating.add_argument("--folds", type=int, help="of the cross-validation (default: the experiment's)")
    options = parser.parse_args(arguments)
    try:
        print(evaluate_run(options).text if options.command == "evaluate" else calibrate_run(options))
    except (ConfigError, DatasetError, EvaluationInputError, ModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def add_scoring_options(parser: argparse.ArgumentParser, *, run_required: bool = False) -> None:
    parser.set_defaults(model=None)  # a promotion judges a run and has no such option
    parser.add_argument(
        "--run",
        type=Path,
        required=run_required,
        help="the run whose candidate is judged (default: a shipped model)",
    )
    parser.add_argument("--manifest", type=Path, default=Path("runs/manifests/earcorpus.csv"))
    parser.add_argument("--split", default="dev", help="never one that anything was fitted on (default: dev)")
    parser.add_argument(
        "--conditions",
        default="clean",
        help=f"comma list of {', '.join(ALL_CONDITIONS)}, or `all` that have goals",
    )
    parser.add_argument(
        "--robustness",
        action="store_true",
        help=f"also under changes that leave the speech as it is: {', '.join(ROBUSTNESS)}",
    )
    parser.add_argument(
        "--splices",
        type=int,
        default=SPLICES,
        help=f"recordings that are spliced to judge the frame scores (default: {SPLICES}; 0: none)",
    )
    parser.add_argument(
        "--asv-scores", type=Path, help="ASVspoof's speaker verification scores: adds the min t-DCF"
    )
    parser.add_argument("--asv-keys", type=Path, help="with the scores of ASVspoof 2021: their trial_metadata.txt")
    parser.add_argument("--seed", type=int, default=1, help="of what a condition draws at random (default: 1)")
    parser.add_argument("--fresh", action="store_true", help="score anew what was scored before")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def evaluate_run(options: argparse.Namespace) -> Report:
    """The report asked for by `add_scoring_options`."""
    if options.run and options.model:
        raise EvaluationInputError("give --run or --model, not both")
    shipped = model_path(options.model or "default")
    graph = options.run / CANDIDATE / MODEL_NAME if options.run else shipped
    folder = (options.run or Path("runs/shipped") / shipped.stem) / "evaluation"
    clips = clips_asked(options)
    conditions = list(dict.fromkeys([*_named_conditions(options), *(ROBUSTNESS if options.robustness else ())]))
    scoring = ScoringOptions(
        conditions, jobs=options.jobs, seed=options.seed, quiet=options.quiet, fresh=options.fresh
    )
    return evaluate(
        graph, clips, folder, options.split, scoring, manifest=options.manifest, extras=_extras(options)
    )


def clips_asked(options: argparse.Namespace) -> list[Clip]:
    """Those of `--split` in `--manifest`; EvaluationInputError where there are none."""
    clips = with_fold_groups([clip for clip in read_manifest(options.manifest) if clip.split == options.split])
    if not clips:
        raise EvaluationInputError(f"{options.manifest} has no clips in the split {options.split!r}")
    return clips


def _named_conditions(options: argparse.Namespace) -> list[str]:
    """`clean`, which every figure needs, and those of `--conditions`."""
    named = CONDITIONS if options.conditions == "all" else options.conditions.split(",")
    return list(dict.fromkeys([CLEAN, *named]))


def _extras(options: argparse.Namespace) -> Extras:
    if options.asv_keys and not options.asv_scores:
        raise EvaluationInputError("--asv-keys needs --asv-scores: the scores that the keys belong to")
    if options.splices < 0:
        raise EvaluationInputError(f"--splices counts recordings: 0 or more, not {options.splices}")
    asv = read_asv_rates(options.asv_scores, options.asv_keys, options.split) if options.asv_scores else None
    return Extras(splices=options.splices, asv=asv)


def calibrate_run(options: argparse.Namespace) -> str:
    """Score the run's held-out clips, fit, write the candidate's spec; what was found, in lines.

    Raises ConfigError where the run's manifest has changed: its held-out clips may have been trained on.
    """
    trained = load(options.run / BEST_NAME)
    experiment = trained.experiment
    clips, split = split_of_run(trained, options.run)
    graph = options.run / CANDIDATE / MODEL_NAME
    scoring = ScoringOptions(
        _named_conditions(options),
        jobs=options.jobs,
        seed=experiment.seed,
        quiet=options.quiet,
        fresh=options.fresh,
    )
    heldout_clips = [clips[i] for i in split.heldout]
    heldout = scored_split(graph, heldout_clips, options.run / "evaluation", "heldout", scoring)
    goal = ThresholdGoal(
        max_bonafide_called_deepfake=options.max_bonafide_called_deepfake,
        max_spoof_called_authentic=options.max_spoof_called_authentic,
        max_bonafide_called_deepfake_degraded=options.max_bonafide_called_deepfake_degraded,
        certainty=options.certainty or None,
    )
    done = calibrate(
        graph, heldout, goal=goal, seed=experiment.seed, folds=options.folds or experiment.data.calibration_folds
    )
    human = [clip for clip in heldout_clips if not clip.is_spoof]  # stretches go by the calibration, so after it
    by_chance = measure(graph, human, seed=experiment.seed, jobs=options.jobs)
    write_chance(graph, by_chance.chances)
    fitted, line, chosen = done.fitted, done.spec.calibration, done.spec.thresholds
    before, after = fitted.before, fitted.after
    lines = [
        f"held out: {fitted.bonafide} bona fide, {fitted.spoof} spoof, {fitted.groups} source repositories",
        f"llr = {line.slope:.4f} * score {line.intercept:+.4f}, within [{line.llr_min:.2f}, {line.llr_max:.2f}]",
        f"method: {fitted.method}, the best of three out of fold",
        f"ECE  raw {before.ece_equal_mass:.4f}, calibrated and out of fold {after.ece_equal_mass:.4f}",
        f"Cllr raw {before.cllr:.4f}, calibrated and out of fold {after.cllr:.4f}, minimum {after.min_cllr:.4f}",
        f"thresholds {chosen.t_low:.4f} and {chosen.t_high:.4f}: {done.spec.thresholds_chosen}",
        f"unlike the training data: beyond distance {done.spec.limits.max_ood_distance:.3f}",
        *by_chance.lines(by_chance.chances),
        *(f"left out: {line}" for line in by_chance.left_out),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
