"""Percentiles of what was measured, as the table that `earwitness.signals.usual` reads.

table = usual_table(rows, origin)
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
    signals: dict[str, dict[str, dict[str, dict[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
    gathered: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for source, wanted in ((rows, False), (held_out, True)):
        for row in source:
            for name, value in row.values.items():
                if (name in MODEL_SIGNALS) is wanted:
                    gathered[name, row.group, row.label].append(value)
    for (name, group, label), values in sorted(gathered.items()):
        at = np.percentile(np.array(values), PERCENTS)
        signals[name][group][label] = {"n": len(values), "values": [_short(value) for value in at]}
    body = {
        "table_version": TABLE_VERSION,
        "graph_sha256": graph_sha256,
        "percents": list(PERCENTS),
        "origin": dict(origin),
        "signals": signals,
    }
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return {"version": digest[:12], **json.loads(json.dumps(body))}


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
