"""`python -m ml.datasets`: list, download, prepare, validate, shortcuts.

    python -m ml.datasets download asvspoof2019-la data/asvspoof2019-la
    python -m ml.datasets prepare asvspoof2019-la data/asvspoof2019-la data/asvspoof2019-la.csv
    python -m ml.datasets validate data/asvspoof2019-la.csv
    python -m ml.datasets shortcuts data/asvspoof2019-la.csv --per-split 2000

Exit codes: 0 done; 1 it failed, with one line on stderr that says what to do; 2 the command line was wrong; 3 the
manifest was read but isn't fit (`validate`), or something leaks (`shortcuts --strict`). `--json` prints one
object.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from ml.datasets.download import DownloadOptions, read_lock
from ml.datasets.entries import OnCorrupt, skipped_report
from ml.datasets.errors import DatasetError
from ml.datasets.file_check import Limits
from ml.datasets.manifest import manifest_sha256, read_manifest
from ml.datasets.recipe import Leak
from ml.datasets.recipes import RECIPES
from ml.datasets.shortcuts import report_text as shortcut_text
from ml.datasets.shortcuts import shortcut_report
from ml.datasets.validate import report_text as validation_text
from ml.datasets.validate import validate
from ml.evaluation.atomic_write import write_text

EXIT_FAILED: Final = 1
EXIT_UNFIT: Final = 3


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except DatasetError as e:
        print(f"error: {e}", file=sys.stderr)
    except OSError as e:
        print(f"error: {e.filename or 'file'}: {e.strerror or e}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped; the same command continues a download where it was", file=sys.stderr)
    return EXIT_FAILED


def _list(options: argparse.Namespace) -> int:
    facts = [
        {
            "name": recipe.name,
            "title": recipe.title,
            "homepage": recipe.homepage,
            "licence": recipe.licence,
            "parts": list(recipe.parts),
            "default_parts": list(recipe.default_parts),
            "downloads": recipe.download is not None,
        }
        for recipe in RECIPES.values()
    ]
    text = "\n".join(
        f"{recipe.name:<17} {recipe.title}\n{'':<17} {recipe.homepage}; {recipe.licence}"
        + (f"\n{'':<17} parts: {', '.join(recipe.parts)}" if len(recipe.parts) > 1 else "")
        for recipe in RECIPES.values()
    )
    _print(options, facts, text)
    return 0


def _download(options: argparse.Namespace) -> int:
    recipe = RECIPES[options.name]
    if recipe.download is None:
        print(f"error: {recipe.name} has no public address: {recipe.homepage}", file=sys.stderr)
        return EXIT_FAILED
    recipe.download(
        options.root,
        DownloadOptions(
            base_url=options.base_url,
            parts=tuple(options.parts) if options.parts else None,
            checksums=dict(options.checksum),
            keep_archives=not options.remove_archives,
            progress=_progress(options),
        ),
    )
    lock = read_lock(options.root)
    text = "\n".join(f"{name}: {entry.checksum} ({entry.trust})" for name, entry in sorted(lock.items()))
    _print(options, {name: asdict(entry) for name, entry in lock.items()}, text)
    return 0


def _prepare(options: argparse.Namespace) -> int:
    manifest = RECIPES[options.name].prepare(
        options.root, options.manifest, on_corrupt=OnCorrupt(options.on_corrupt), progress=_progress(options)
    )
    count = len(read_manifest(manifest))
    report = skipped_report(manifest)
    skipped = str(report) if report.is_file() else None
    text = f"{manifest}: {count} clips" + (f"; what was left out is in {skipped}" if skipped else "")
    facts = {"manifest": str(manifest), "clips": count, "sha256": manifest_sha256(manifest), "skipped": skipped}
    _print(options, facts, text)
    return 0


def _validate(options: argparse.Namespace) -> int:
    known = {} if options.strict else {name: recipe.known_leaks for name, recipe in RECIPES.items()}
    report = validate(
        options.manifest,
        Limits(min_duration_s=options.min_duration, max_duration_s=options.max_duration),
        OnCorrupt(options.on_corrupt),
        allowed_leaks=frozenset(Leak(name) for name in options.allow_leak),
        known_leaks=known,
        clean=options.clean,
        progress=_progress(options),
    )
    _print(options, {"passed": report.passed, **asdict(report)}, validation_text(report))
    return 0 if report.passed else EXIT_UNFIT


def _shortcuts(options: argparse.Namespace) -> int:
    report = shortcut_report(
        read_manifest(options.manifest),
        per_split=options.per_split,
        seed=options.seed,
        progress=_progress(options),
    )
    warnings = [f"{feature.split}: {feature.feature}" for feature in report.warnings]
    _print(options, {**asdict(report), "warnings": warnings}, shortcut_text(report))
    return EXIT_UNFIT if options.strict and warnings else 0


def _print(options: argparse.Namespace, facts: object, text: str) -> None:
    printed = json.dumps(facts, indent=2) if options.json else text
    if options.out is not None:
        write_text(options.out, json.dumps(facts, indent=2) + "\n")
    print(printed)


def _progress(options: argparse.Namespace) -> bool:
    return not options.quiet and sys.stderr.isatty()


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    common.add_argument("--out", type=Path, help="also write the JSON to this file")
    common.add_argument("--quiet", action="store_true", help="no progress bar")
    corrupt = argparse.ArgumentParser(add_help=False)
    corrupt.add_argument(
        "--on-corrupt",
        choices=[choice.value for choice in OnCorrupt],
        default=OnCorrupt.FAIL.value,
        help="a recording that can't be read: fail (default), or skip it and say so in the report",
    )
    parser = argparse.ArgumentParser(prog="python -m ml.datasets", description="Fetch, list and check corpora.")
    commands = parser.add_subparsers(required=True)

    listing = commands.add_parser("list", parents=[common], help="the corpora that there are recipes for")
    listing.set_defaults(command=_list)

    download = commands.add_parser("download", parents=[common], help="fetch, check and unpack a corpus")
    download.add_argument("name", choices=list(RECIPES))
    download.add_argument("root", type=Path, help="the corpus's folder")
    download.add_argument("--parts", nargs="+", help="only these parts (see list)")
    download.add_argument("--base-url", help="a mirror that holds all files side by side")
    download.add_argument(
        "--checksum",
        action="append",
        type=_checksum,
        default=[],
        metavar="FILE=md5:HEX",
        help="what this file must be (md5: or sha256:), stronger than what the recipe knows",
    )
    download.add_argument("--remove-archives", action="store_true", help="delete each archive once it is unpacked")
    download.set_defaults(command=_download)

    prepare = commands.add_parser("prepare", parents=[common, corrupt], help="write a corpus's manifest")
    prepare.add_argument("name", choices=list(RECIPES))
    prepare.add_argument("root", type=Path, help="the corpus's folder")
    prepare.add_argument("manifest", type=Path, help="where to write the manifest")
    prepare.set_defaults(command=_prepare)

    validation = commands.add_parser("validate", parents=[common, corrupt], help="is a manifest fit to train on?")
    validation.add_argument("manifest", type=Path)
    validation.add_argument("--min-duration", type=float, default=Limits().min_duration_s, metavar="SECONDS")
    validation.add_argument("--max-duration", type=float, default=Limits().max_duration_s, metavar="SECONDS")
    validation.add_argument(
        "--allow-leak",
        action="append",
        choices=[leak.value for leak in Leak],
        default=[],
        help="only warn where splits share this; may be repeated",
    )
    validation.add_argument(
        "--strict", action="store_true", help="fail also on leaks that a corpus's makers intended"
    )
    validation.add_argument("--clean", type=Path, help="write a manifest without the unusable recordings here")
    validation.set_defaults(command=_validate)

    shortcuts = commands.add_parser("shortcuts", parents=[common], help="does anything trivial tell the classes?")
    shortcuts.add_argument("manifest", type=Path)
    shortcuts.add_argument("--per-split", type=int, help="measure this many clips of each split, drawn at random")
    shortcuts.add_argument("--seed", type=int, default=0)
    shortcuts.add_argument("--strict", action="store_true", help="exit with 3 where anything leaks")
    shortcuts.set_defaults(command=_shortcuts)
    return parser


def _checksum(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    algorithm, _, digest = value.partition(":")
    length = {"md5": 32, "sha256": 64}.get(algorithm)
    if not name or length != len(digest) or not set(digest) <= set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form FILE=md5:HEX or FILE=sha256:HEX")
    return name, value
