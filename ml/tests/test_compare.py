"""Comparisons of one ingredient at a time: what is run, what is refused, what the table says."""

import re
from pathlib import Path

import pytest

from ml.config import load_experiment
from ml.tests.conftest import SMOKE
from ml.training.compare import load_comparison, main, table

pytestmark = pytest.mark.pipeline

SHIPPED = SMOKE.with_name("compare") / "ingredients.toml"


def test_every_variant_of_the_repository_can_be_run() -> None:
    comparison = load_comparison(SHIPPED)
    base = load_experiment(SHIPPED.with_name(comparison.base))
    for name, changes in comparison.variants.items():
        assert load_experiment(SHIPPED.with_name(comparison.base), changes) != base, name


def test_variants_are_trained_compared_and_not_trained_again(
    toy_manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SMOKE.read_text().replace("runs/smoke/cache", str(tmp_path / "cache"))
    (tmp_path / "base.toml").write_text(re.sub(r"max_steps = \d+", "max_steps = 2", text))
    file = tmp_path / "compare.toml"
    file.write_text(
        'base = "base.toml"\nseeds = [1, 2]\nconditions = ["clean", "short_1.5s"]\n'
        '[variants."no smoothing"]\n"train.label_smoothing" = 0.0\n'
    )
    call = ["--config", str(file), "--out", str(tmp_path / "runs"), "--manifest", str(toy_manifest), "--quiet"]
    assert main(call) == 0
    first = capsys.readouterr().out
    rows = first.splitlines()
    assert rows[0].startswith("| variant | seeds | auc clean | eer clean |")
    assert [row.split(" | ")[:2] for row in rows[2:]] == [["| base", "2"], ["| no smoothing", "2"]]
    checkpoints = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/last.pt")}
    assert len(checkpoints) == 4
    assert main(call) == 0
    assert capsys.readouterr().out == first
    assert {path: path.stat().st_mtime_ns for path in checkpoints} == checkpoints
    base = tmp_path / "base.toml"
    base.write_text(base.read_text().replace("[train]", "[train]\nweight_decay = 0.5"))
    assert main(call) == 2, "figures of another base don't belong into the same table"
    assert "holds a run of another experiment" in capsys.readouterr().err
    base.write_text(re.sub(r"max_steps = \d+", "max_steps = 3", text))
    assert main(call) == 2, "nor those of a shorter one"
    assert "holds a run of another experiment" in capsys.readouterr().err
    (tmp_path / "runs" / "base-seed1" / "compared.json").unlink()
    assert main(call) == 2, "nor does a run go on that was begun as a shorter one"
    assert "base-seed1 holds a run of another experiment" in capsys.readouterr().err


def test_the_table_gives_mean_and_spread_in_per_cent() -> None:
    found = table(
        {
            "base": [{"auc clean": 0.8, "eer tts": 0.2}, {"auc clean": 0.9, "eer tts": 0.1}],
            "x": [{"auc clean": 0.5}],
        }
    )
    assert found.splitlines()[2:] == ["| base | 2 | 85.0 (80.0 to 90.0) |", "| x | 1 | 50.0 |"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "base"),
        ('base = "smoke.toml"\nseeds = []', "at least one"),
        ('base = "smoke.toml"\nseeds = [1]\nconditions = ["rain"]', "unknown condition rain"),
        ('base = "smoke.toml"\nseeds = [1]\n[variants.base]\nseed = 2', "may be called"),
        ('base = "smoke.toml"\nseeds = [1]\n[variants.x]\n"train.speed" = 2', "train.speed"),
        ("not toml", "compare.toml"),
    ],
)
def test_an_unusable_comparison_is_an_error_of_one_line(
    tmp_path: Path, text: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "smoke.toml").write_text(SMOKE.read_text())
    (tmp_path / "compare.toml").write_text(text)
    assert main(["--config", str(tmp_path / "compare.toml"), "--out", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert named in error
    assert not (tmp_path / "runs").exists()


def test_an_unknown_variant_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(SHIPPED), "--out", str(tmp_path), "--only", "nothing"]) == 2
    assert "'nothing'" in capsys.readouterr().err
