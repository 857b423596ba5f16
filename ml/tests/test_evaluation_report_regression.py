"""The stored ranges of a mini data set's figures, and the alarm when a figure leaves its range."""

import json
from pathlib import Path

import numpy as np
import pytest

from earwitness.policy import Thresholds
from ml.evaluation.regression import (
    EXIT_IN_RANGE,
    EXIT_REGRESSION,
    EXIT_UNUSABLE,
    Expectation,
    check_figures,
    main,
    read_expectations,
)
from ml.evaluation.scores import EvaluationInputError
from ml.evaluation.summary import summarise, write_summary
from ml.tests.score_tables import make_table, replaced

LOWER = Expectation("pooled.eer", expected=0.10, tolerance=0.02, better="lower")
HIGHER = Expectation("pooled.auc", expected=0.95, tolerance=0.02, better="higher")


def report(eer: float = 0.10, auc: float = 0.95) -> dict[str, object]:
    return {"pooled": {"eer": eer, "auc": auc}}


@pytest.mark.parametrize(
    ("eer", "failed", "out_of_date"),
    [
        (0.10, False, False),
        (0.119, False, False),
        (0.121, True, False),
        (0.081, False, False),
        (0.079, False, True),
    ],
)
def test_a_rate_may_not_rise_beyond_tolerance(eer: float, failed: bool, out_of_date: bool) -> None:
    (check,) = check_figures(report(eer=eer), [LOWER])
    assert (check.failed, check.out_of_date) == (failed, out_of_date)


@pytest.mark.parametrize(("auc", "failed"), [(0.95, False), (0.931, False), (0.929, True), (0.99, False)])
def test_a_share_may_not_fall_beyond_tolerance(auc: float, failed: bool) -> None:
    (check,) = check_figures(report(auc=auc), [HIGHER])
    assert check.failed == failed


def write_expectations(path: Path, eer: float) -> Path:
    path.write_text(json.dumps({"pooled.eer": {"expected": eer, "tolerance": 0.03, "better": "lower"}}))
    return path


def test_the_command_passes_on_the_stored_model_and_fails_on_a_spoiled_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = make_table(n=400, repos=10)
    spoiled = replaced(table, score=np.where(table.kind == "tts", -1.0, 1.0) * table.score)  # one kind lost
    paths = []
    for name, scored in (("good", table), ("spoiled", spoiled)):
        summary = summarise(scored, scored.score, Thresholds(0.2, 0.9), seed=0, llr_origin="raw", resamples=10)
        paths.append(write_summary(tmp_path / f"{name}.json", summary))
    stored = json.loads(paths[0].read_text())["pooled"]["eer"]
    expected = write_expectations(tmp_path / "expected.json", stored)
    assert main([str(paths[0]), str(expected)]) == EXIT_IN_RANGE
    assert "in range" in capsys.readouterr().out
    assert main([str(paths[1]), str(expected)]) == EXIT_REGRESSION
    assert "REGRESSION" in capsys.readouterr().out


def test_an_unusable_file_has_its_own_exit_code_and_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = write_expectations(tmp_path / "expected.json", 0.1)
    assert main([str(tmp_path / "none.json"), str(expected)]) == EXIT_UNUSABLE
    assert "none.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "JSON object"),
        ("{", "as JSON"),
        ('{"a": 1}', "needs exactly"),
        ('{"a": {"expected": 1, "tolerance": 1}}', "needs exactly"),
        ('{"a": {"expected": "1", "tolerance": 1, "better": "lower"}}', "must be numbers"),
        ('{"a": {"expected": NaN, "tolerance": 1, "better": "lower"}}', "must be numbers"),
        ('{"a": {"expected": 1, "tolerance": -1, "better": "lower"}}', "tolerance >= 0"),
        ('{"a": {"expected": 1, "tolerance": 1, "better": "up"}}', "lower or higher"),
    ],
)
def test_damaged_expectations_are_clear_errors(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "expected.json"
    path.write_text(content)
    with pytest.raises(EvaluationInputError, match=message):
        read_expectations(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [({}, "no figure"), ({"pooled": {"eer": None}}, "no number"), ({"pooled": 3}, "no figure")],
)
def test_a_report_without_the_figure_never_passes(content: dict[str, object], message: str) -> None:
    with pytest.raises(EvaluationInputError, match=message):
        check_figures(content, [LOWER])


def test_no_expectations_never_pass() -> None:
    with pytest.raises(EvaluationInputError, match="empty check"):
        check_figures(report(), [])
