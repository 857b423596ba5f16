"""One way to write a row down, and the hash of that: the same on SQLite and PostgreSQL. Pure: no database here.

    row_sha256(row, ("id", "created_at", "filename"))      # 64 hex digits

Canonical JSON: names sorted, no spaces, ASCII. A time is in UTC with microseconds, a UUID and an enumeration are their
text, a number with a fraction is the shortest text that gives it back, and -0.0, which SQLite does not keep, is 0.0.
A column that is NULL is left out: so one that a later version adds changes no hash of before, if it may be NULL.

Hash rows that were read from the database, never those that are about to be written: only what went through it is what
everybody reads later. This is not the JSON of `app.audit.chain`, which refuses some text and numbers: a run ends
whatever its detector said.
"""

import hashlib
import json
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import Enum
from typing import Any


def canonical(value: Any) -> str:
    """A column's value, or a dictionary of them, as JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def row_sha256(row: Any, columns: Iterable[str]) -> str:
    """Hex SHA-256 of these columns, which are attributes of `row` under the same names."""
    values = {name: _zero_without_sign(getattr(row, name)) for name in columns}
    content = canonical({name: value for name, value in values.items() if value is not None})
    return hashlib.sha256(content.encode("ascii")).hexdigest()


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds")
        case uuid.UUID():
            return str(value)
        case Enum():
            return value.value
    raise TypeError(f"no column of a bound row holds a {type(value).__name__}")


def _zero_without_sign(value: Any) -> Any:
    return value + 0.0 if isinstance(value, float) else value
