"""`python -m ml.signals`: measure what is usual, and write the table that ships with the library.

With `--beside` it measures only what another model's network gives, and adds that to the table that is there:

    python -m ml.signals --manifest runs/manifests/earcorpus.csv --telephone-every 4 --model accurate --beside

Exit codes: 0 done, 2 the model or the data can't be used.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from earwitness.errors import ModelError
from earwitness.model_spec import PROFILES, load_spec, model_path
from earwitness.signals.usual import TABLE_FILE, parse_usual_ranges
from ml.datasets.errors import DatasetError
from ml.datasets.manifest import Clip, Label, manifest_sha256, read_manifest
from ml.evaluation.atomic_write import write_text
from ml.provenance import git_revision
from ml.signals.measure import Row, measure
from ml.signals.table import usual_table, with_network, with_others

SHIPPED_TABLE = Path("src/earwitness/signals") / TABLE_FILE


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    model = model_path(options.model)
    try:
        spec = load_spec(model)
        clips = read_manifest(options.manifest)
    except (DatasetError, ModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    there = _table_at(options.out)
    if options.beside and (there is None or there["graph_sha256"] == spec.graph_sha256):
        what = "no table that can be used" if there is None else f"a table of {spec.model_version} itself"
        print(f"error: {options.out} holds {what}: measure it without --beside", file=sys.stderr)
        return 2
    splits = [options.held_out] if options.beside else [options.split, options.held_out]
    measured = [
        measure(
            draw(clips, split, options.per_class, options.seed),
            model,
            jobs=options.jobs,
            telephone_every=options.telephone_every,
            quiet=options.quiet,
        )
        for split in splits
    ]
    beside = f" --model {options.model} --beside" if options.beside else ""
    origin = {
        "command": f"python -m ml.signals --manifest {options.manifest} --split {options.split} "
        f"--held-out {options.held_out} --per-class {options.per_class} --seed {options.seed} "
        f"--telephone-every {options.telephone_every}{beside}",
        "manifest_sha256": manifest_sha256(options.manifest),
        "model_version": spec.model_version,
        "git_revision": git_revision(),
        "held_out_recordings": _counts(measured[-1]),
    }
    if there is not None and options.beside:
        table = with_network(there, measured[0], graph_sha256=spec.graph_sha256, origin=origin)
    else:
        origin["recordings"] = _counts(measured[0])
        table = usual_table(*measured, graph_sha256=spec.graph_sha256, origin=origin)
        kept = {} if there is None else there.get("other_networks", {})
        table = with_others(table, {key: value for key, value in kept.items() if key != spec.graph_sha256})
    parse_usual_ranges(table)  # what can't be read must not be written
    write_text(options.out, json.dumps(table, indent=None, separators=(",", ":"), sort_keys=True) + "\n")
    told = " and ".join(str(_counts(rows)) for rows in measured)
    print(f"{options.out}: version {table['version']}, measured on {told}")
    return 0


def _table_at(path: Path) -> dict[str, Any] | None:
    """None where there is none, or none that this program reads: it is then made anew."""
    try:
        table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        parse_usual_ranges(table)
    except (OSError, KeyError, TypeError, ValueError):
        return None
    return table


def draw(clips: Sequence[Clip], split: str, per_class: int, seed: int) -> list[Clip]:
    """At most `per_class` human and as many synthetic clips of `split`, mixed; the same seed draws the same ones."""
    generator = random.Random(seed)
    drawn: list[Clip] = []
    for label in Label:
        of_label = [clip for clip in clips if clip.split == split and clip.label is label]
        drawn += generator.sample(of_label, min(per_class, len(of_label)))
    generator.shuffle(drawn)
    return drawn


def _counts(rows: Sequence[Row]) -> dict[str, int]:
    return {
        f"{label} {group}": sum(row.label == label and row.group == group for row in rows)
        for label in ("human", "synthetic")
        for group in ("narrow", "medium", "wide")
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ml.signals", description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--split", default="train", help="what the signals of the sound are measured on")
    parser.add_argument("--held-out", default="dev", help="what the network's own signals are measured on")
    parser.add_argument("--per-class", type=int, default=1_000, help="clips of each label, at most")
    parser.add_argument(
        "--telephone-every", type=int, default=3, help="examine each so-manieth clip at 8 kHz, too"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--model", default="default", help=f"{' or '.join(PROFILES)}, or a graph's path")
    parser.add_argument("--beside", action="store_true", help="add this model's own signals to the table")
    parser.add_argument("--out", type=Path, default=SHIPPED_TABLE)
    parser.add_argument("--quiet", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
