"""What signals usually measure, over human and over synthetic recordings of like bandwidth.

    ranges = load_usual_ranges()                                # None where no table ships
    signals = ranges.beside(signals, bandwidth_hz, graph_sha256)
    in_words(signals[0])            # "lower than 97 % of human recordings of this bandwidth"

The table is measured by `python -m ml.signals` and ships as `usual_ranges.json` beside this file; it says on what it
was measured. Signals that come from the network (`MODEL_SIGNALS`) are compared only where they were measured with the
same graph; a table can hold those of several.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, TypeAlias

import numpy as np

from earwitness.errors import ModelMismatchError
from earwitness.grounds import Signal, UsualRange

TABLE_VERSION = 1
TABLE_FILE = "usual_ranges.json"
NARROW_BELOW_HZ = 4_800.0  # telephone: 8 kHz recordings measure up to 4.5 kHz, by their resampler's edge
MEDIUM_BELOW_HZ = 7_000.0  # low bit rates; above, the band of 16 kHz is there
FEWEST_RECORDINGS = 50  # a 5 % tail of fewer is two recordings
MODEL_SIGNALS = frozenset(("ood_distance", "frame_agreement_share"))
OF_LENGTH = frozenset(("speech_s", "pauses_per_min"))
"""Not compared: the table's recordings last 3 s, and pauses at their ends are none."""
PERCENTS = (
    0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 97.0, 98.0, 99.0, 100.0,
)  # fmt: skip
"""At which the table holds values: closer at the ends, where a value is unusual."""

Distribution: TypeAlias = tuple[int, tuple[float, ...]]
"""How many recordings, and their values at `PERCENTS`."""
Distributions: TypeAlias = Mapping[tuple[str, str, str], Distribution]
"""(signal, bandwidth class, `human` or `synthetic`) to what was measured."""


def bandwidth_class(bandwidth_hz: float | None) -> str | None:
    """Which recordings one of this bandwidth is compared with; None where the bandwidth could not be measured."""
    if bandwidth_hz is None:
        return None
    if bandwidth_hz < NARROW_BELOW_HZ:
        return "narrow"
    return "medium" if bandwidth_hz < MEDIUM_BELOW_HZ else "wide"


@dataclass(frozen=True, slots=True)
class UsualRanges:
    version: str
    """Of the measurement: a short hash of what was measured."""
    distributions: Distributions
    networks: Mapping[str, Distributions]
    """By a graph's SHA-256, where `MODEL_SIGNALS` as that network gives them are found."""

    def beside(
        self, signals: Sequence[Signal], bandwidth_hz: float | None, graph_sha256: str
    ) -> tuple[Signal, ...]:
        """The same signals with what is usual for recordings of like bandwidth."""
        group = bandwidth_class(bandwidth_hz)
        if group is None:
            return tuple(signals)
        of_network = self.networks.get(graph_sha256)
        found = []
        for signal in signals:
            if signal.name in OF_LENGTH:
                found.append(signal)
                continue
            measured = of_network if signal.name in MODEL_SIGNALS else self.distributions
            if measured is None:
                found.append(signal)
                continue
            human, synthetic = (_range(measured, signal, group, label) for label in ("human", "synthetic"))
            found.append(replace(signal, human=human, synthetic=synthetic, bandwidth_class=group))
        return tuple(found)


def _range(measured: Distributions, signal: Signal, group: str, label: str) -> UsualRange | None:
    found = measured.get((signal.name, group, label))
    if signal.value is None or found is None or found[0] < FEWEST_RECORDINGS:
        return None
    count, values = found
    return UsualRange(
        low=values[PERCENTS.index(5.0)],
        median=values[PERCENTS.index(50.0)],
        high=values[PERCENTS.index(95.0)],
        percentile=_percent_below(values, signal.value),
        percent_above=_percent_below(tuple(-value for value in reversed(values)), -signal.value),
        count=count,
    )


@lru_cache(maxsize=1)
def load_usual_ranges() -> UsualRanges | None:
    """The table that ships with the library; None where there is none.

    Raises ModelMismatchError for one that can't be read.
    """
    return read_usual_ranges(resources.files("earwitness.signals").joinpath(TABLE_FILE))


def read_usual_ranges(path: Traversable) -> UsualRanges | None:
    """The table at `path`; None where there is none. Raises ModelMismatchError for one that can't be read."""
    if not path.is_file():
        return None
    try:
        return parse_usual_ranges(json.loads(path.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelMismatchError(
            f"the usual ranges {path} can't be used ({error}): make them anew with `python -m ml.signals`"
        ) from error


def parse_usual_ranges(raw: Mapping[str, Any]) -> UsualRanges:
    """Raises KeyError, TypeError or ValueError for anything but a table of this version."""
    if raw["table_version"] != TABLE_VERSION:
        raise ValueError(f"table_version is {raw['table_version']}, this program reads {TABLE_VERSION}")
    if tuple(raw["percents"]) != PERCENTS:
        raise ValueError("the percents are not this program's")
    distributions = _distributions(raw["signals"])
    networks = {str(raw["graph_sha256"]): distributions}
    for graph, network in raw.get("other_networks", {}).items():
        networks[graph] = _distributions(network["signals"])
    return UsualRanges(str(raw["version"]), distributions, networks)


def _distributions(signals: Mapping[str, Any]) -> Distributions:
    distributions: dict[tuple[str, str, str], Distribution] = {}
    for name, groups in signals.items():
        for group, labels in groups.items():
            for label, measured in labels.items():
                values = tuple(float(value) for value in measured["values"])
                if len(values) != len(PERCENTS) or list(values) != sorted(values):
                    raise ValueError(f"{name}, {group}, {label}: need {len(PERCENTS)} rising values")
                distributions[name, group, label] = (int(measured["n"]), values)
    return distributions


def in_words(signal: Signal) -> str | None:
    """Where the value lies among human recordings; None where there is nothing to compare it with."""
    if signal.human is None:
        return None
    if signal.human.percentile > 50.0:
        return f"higher than {whole_percent(signal.human.percentile)} % of human recordings of this bandwidth"
    if signal.human.percent_above > 50.0:
        return f"lower than {whole_percent(signal.human.percent_above)} % of human recordings of this bandwidth"
    return "as in most human recordings of this bandwidth"


def whole_percent(percent: float) -> int:
    """Rounded down and never 100: a table of some hundred recordings has not seen them all."""
    return min(int(percent), 99)


def _percent_below(values: tuple[float, ...], value: float) -> float:
    """Part of the recordings that lie below `value`, 0 to 100, interpolated between the table's percents."""
    at = int(np.searchsorted(values, value, side="left"))
    if at == 0:
        return 0.0
    if at == len(values):
        return 100.0
    share = (value - values[at - 1]) / (values[at] - values[at - 1])
    return PERCENTS[at - 1] + share * (PERCENTS[at] - PERCENTS[at - 1])
