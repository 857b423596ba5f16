"""The metric regression check: a mini data set's figures must stay in the range that was stored for them.

    python -m ml.evaluation.regression report.json expected.json      # exit 0: all in range, 1: not, 2: unusable

The file of expectations is JSON, a dotted path into the report for each figure:

    {"pooled.eer": {"expected": 0.12, "tolerance": 0.05, "better": "lower"}, ...}

A figure that is worse than `expected` by more than `tolerance` is a regression. One that is better by more than
that is reported too, but does not fail: the stored range is then out of date, and a later drop could hide in it.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ml.evaluation.scores import EvaluationInputError

Better = Literal["lower", "higher"]

EXIT_IN_RANGE, EXIT_REGRESSION, EXIT_UNUSABLE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Expectation:
    path: str
    expected: float
    tolerance: float
    better: Better


@dataclass(frozen=True, slots=True)
class Check:
    expectation: Expectation
    figure: float
    worse_by: float
    """Positive: worse than expected; negative: better."""

    @property
    def failed(self) -> bool:
        return self.worse_by > self.expectation.tolerance

    @property
    def out_of_date(self) -> bool:
        """Better than the stored range: store it anew."""
        return -self.worse_by > self.expectation.tolerance

    def __str__(self) -> str:
        e = self.expectation
        state = "REGRESSION" if self.failed else "better than stored" if self.out_of_date else "in range"
        return f"{e.path} = {self.figure:.4f}, expected {e.expected:.4f} +- {e.tolerance:.4f}: {state}"


def check_figures(report: Mapping[str, Any], expectations: Sequence[Expectation]) -> tuple[Check, ...]:
    """One check an expectation; EvaluationInputError where the report lacks a figure, or none is expected."""
    if not expectations:
        raise EvaluationInputError("no expectations: an empty check would always pass")
    checks = []
    for expectation in expectations:
        figure = _figure_at(report, expectation.path)
        difference = figure - expectation.expected
        checks.append(Check(expectation, figure, difference if expectation.better == "lower" else -difference))
    return tuple(checks)


def read_expectations(path: Path) -> tuple[Expectation, ...]:
    """The expectations in a file, checked; EvaluationInputError names the file and the fault."""
    expectations = []
    for key, entry in _read_object(path).items():
        if not isinstance(entry, dict) or entry.keys() != {"expected", "tolerance", "better"}:
            raise EvaluationInputError(f"{path}: {key} needs exactly expected, tolerance and better")
        numbers = (entry["expected"], entry["tolerance"])
        if not all(_is_number(number) for number in numbers) or entry["tolerance"] < 0:
            raise EvaluationInputError(f"{path}: {key}: expected and tolerance must be numbers, tolerance >= 0")
        if entry["better"] not in ("lower", "higher"):
            raise EvaluationInputError(f"{path}: {key}: better must be lower or higher, not {entry['better']!r}")
        expectations.append(Expectation(key, float(numbers[0]), float(numbers[1]), entry["better"]))
    return tuple(expectations)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every check; the exit code says whether all are in range."""
    parser = argparse.ArgumentParser(prog="python -m ml.evaluation.regression", description="Check stored ranges.")
    parser.add_argument("report", type=Path, help="the evaluation's JSON")
    parser.add_argument("expected", type=Path, help="the stored ranges")
    parsed = parser.parse_args(arguments)
    try:
        checks = check_figures(_read_object(parsed.report), read_expectations(parsed.expected))
    except EvaluationInputError as e:
        print(f"error: {e}", file=sys.stderr)
        return EXIT_UNUSABLE
    for check in checks:
        print(check)
    return EXIT_REGRESSION if any(check.failed for check in checks) else EXIT_IN_RANGE


def _figure_at(report: Mapping[str, Any], path: str) -> float:
    value: Any = report
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            raise EvaluationInputError(f"the report has no figure {path!r}")
        value = value[key]
    if not _is_number(value):
        raise EvaluationInputError(f"{path!r} is no number in the report, but {value!r}")
    return float(value)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as e:
        raise EvaluationInputError(f"{path}: can't be read as JSON: {e}") from e
    if not isinstance(content, dict):
        raise EvaluationInputError(f"{path}: must hold a JSON object")
    return content


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


if __name__ == "__main__":
    sys.exit(main())
