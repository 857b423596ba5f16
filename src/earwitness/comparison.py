"""Two findings side by side, field by field: for repeating an examination.

    differences(comparable(recorded), comparable(repeated))      # () where they are the same, to the last bit

Times that were taken are no part of a finding and are left out.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from earwitness.detector import DetectorOutput
from earwitness.output_json import output_as_dict


@dataclass(frozen=True, slots=True)
class Difference:
    field: str
    """Where: `score`, `windows[3].llr`, `signals.speech_s`."""
    recorded: Any
    """A JSON value; None also where the field was not there."""
    repeated: Any


def comparable(output: DetectorOutput) -> dict[str, Any]:
    """As JSON has it, so that what a database gave back compares with what a detector just made."""
    plain: dict[str, Any] = json.loads(json.dumps(output_as_dict(output)))
    del plain["timings_ms"]
    return plain


def differences(recorded: Mapping[str, Any], repeated: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Every leaf that differs, in the order of the fields. Numbers are the same only where they are equal."""
    return tuple(_differing("", recorded, repeated))


def _differing(place: str, recorded: Any, repeated: Any) -> Iterator[Difference]:
    match recorded, repeated:
        case Mapping(), Mapping():
            for name in dict.fromkeys([*recorded, *repeated]):
                deeper = f"{place}.{name}" if place else name
                yield from _differing(deeper, recorded.get(name), repeated.get(name))
        case list(), list() if len(recorded) == len(repeated):
            for number, (one, other) in enumerate(zip(recorded, repeated, strict=True)):
                yield from _differing(f"{place}[{number}]", one, other)
        case _ if recorded != repeated:
            yield Difference(place, recorded, repeated)
