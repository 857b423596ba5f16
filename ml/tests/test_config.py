from pathlib import Path

import pytest

from ml.config import ConfigError, Experiment, load_experiment, parse

EXPERIMENTS = sorted((Path(__file__).parents[1] / "experiments").glob("*.toml"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.name)
def test_every_committed_experiment_parses(path: Path) -> None:
    assert load_experiment(path).name == path.stem


def test_values_arrive_with_their_types(tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.write_text('name = "e"\n[train]\nlearning_rate = 1\n[augment.codec]\nnames = ["opus"]\n')
    experiment = load_experiment(path)
    assert experiment.train.learning_rate == 1.0
    assert isinstance(experiment.train.learning_rate, float)
    assert experiment.augment.codec.names == ("opus",)


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.write_text('name = "e"\n[train]\nmax_steps = 9\n')
    assert load_experiment(path, {"train.max_steps": 2, "seed": 5}).train.max_steps == 2


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('name = "e"\nlernrate = 1', "lernrate"),
        ('name = "e"\n[train]\nlerning_rate = 1', "train.lerning_rate"),
        ('name = "e"\n[augment.codec]\nprobabilty = 1', "augment.codec.probabilty"),
        ('name = "e"\n[train]\nmax_steps = "many"', "train.max_steps"),
        ('name = "e"\n[train]\nmax_steps = true', "train.max_steps"),
        ('name = "e"\n[train]\nprecision = "fp8"', "precision"),
        ('name = "e"\n[train]\nbatch_size = 3', "batch_size"),
        ('name = "e"\ntrain = 3', "train"),
        ('name = "e"\n[train]\nmax_steps = -1', "max_steps"),
        ('name = "e"\n[train]\nevaluate_every = 0', "evaluate_every"),
        ('name = "e"\n[train]\ncheckpoint_every = 0', "checkpoint_every"),
        ('name = "e"\n[train]\npatience = 0', "patience"),
        ('name = "e"\n[train]\nlearning_rate = 0.0', "learning_rate"),
        ('name = "e"\n[train]\nlabel_smoothing = 0.5', "label_smoothing"),
        ('name = "e"\n[train]\nlabel_smoothing = -0.1', "label_smoothing"),
        ('name = "e"\n[data]\ncopy_share = 0.6\nsplice_share = 0.5', "copy_share"),
        ('name = "e"\n[data]\nsplice_share = -0.1', "splice_share"),
        ('name = "e"\n[data]\nholdout_share = 1.0', "holdout_share"),
        ('name = "e"\n[data]\ncrop_s_min = 4.0', "crop_s_min"),
        ("seed = 1", "name"),
        ("name = ", "e.toml"),
    ],
)
def test_a_wrong_file_is_refused_by_the_name_of_its_key(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "e.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named):
        load_experiment(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        load_experiment(tmp_path / "nowhere.toml")


def test_nested_values_are_frozen() -> None:
    experiment = parse(Experiment, {"name": "e"})
    with pytest.raises(AttributeError):
        experiment.train.max_steps = 3  # type: ignore[misc]  # that it is refused is the test
