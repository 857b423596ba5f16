"""Percentiles of what was measured, as the table that `earwitness.signals.usual` reads.

table = usual_table(rows, held_out, graph_sha256=sha256, origin=origin)
table = with_network(table, held_out, graph_sha256=another, origin=origin)
parse_usual_ranges(table)
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from earwitness.signals.usual import MODEL_SIGNALS, PERCENTS, TABLE_VERSION
from ml.signals.measure import Row

DIGITS = 5  # significant ones: more is noise of the sample


def usual_table(
    rows: Sequence[Row], held_out: Sequence[Row], *, graph_sha256: str, origin: Mapping[str, Any]
) -> dict[str, Any]:
    """The table as JSON values: of the network's own signals from `held_out`, clips that it was not trained on.

    `origin` says what was measured: manifest, counts, seed, command.
    """
    body = {
        "table_version": TABLE_VERSION,
        "graph_sha256": graph_sha256,
        "percents": list(PERCENTS),
        "origin": dict(origin),
        "signals": _percentiles([*_values(rows, of_network=False), *_values(held_out, of_network=True)]),
    }
    return _with_version(body)


def with_network(
    table: Mapping[str, Any], held_out: Sequence[Row], *, graph_sha256: str, origin: Mapping[str, Any]
) -> dict[str, Any]:
    """The same table with another network's own signals beside the first's; those that it held of it are replaced."""
    network = {"origin": dict(origin), "signals": _percentiles(_values(held_out, of_network=True))}
    return with_others(table, {**table.get("other_networks", {}), graph_sha256: network})


def with_others(table: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """The same table with these as its other networks."""
    return _with_version({**table, "other_networks": dict(others)})


def _values(rows: Sequence[Row], *, of_network: bool) -> list[tuple[tuple[str, str, str], float]]:
    return [
        ((name, row.group, row.label), value)
        for row in rows
        for name, value in row.values.items()
        if (name in MODEL_SIGNALS) is of_network
    ]


def _percentiles(values: Sequence[tuple[tuple[str, str, str], float]]) -> dict[str, Any]:
    gathered: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for key, value in values:
        gathered[key].append(value)
    signals: dict[str, dict[str, dict[str, dict[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
    for (name, group, label), found in sorted(gathered.items()):
        at = np.percentile(np.array(found), PERCENTS)
        signals[name][group][label] = {"n": len(found), "values": [_short(value) for value in at]}
    return signals


def _with_version(table: Mapping[str, Any]) -> dict[str, Any]:
    body = json.loads(json.dumps({key: value for key, value in table.items() if key != "version"}))
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return {"version": digest[:12], **body}


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
