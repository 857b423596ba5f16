"""How often human speech has a stretch by chance, as it is measured for a model's spec."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.chance import StretchChance
from earwitness.model_spec import default_model_path, load_spec
from earwitness.pipeline import ExamineOptions, examine
from earwitness.scorer import load_scorer
from ml.config import load_experiment
from ml.datasets.manifest import read_manifest
from ml.evaluation.chance import (
    FEWEST,
    HEARD_UNDER,
    HEAVIEST,
    RECORDING_S,
    TURNS,
    Line,
    Measured,
    Recording,
    Searched,
    _hear,
    above_all,
    fitted,
    joined,
    main,
    measure,
    searched,
    speech_of,
)
from ml.evaluation.conditions import GOAL_CONDITIONS
from ml.evaluation.scores import CLEAN
from ml.evaluation.worker import load
from ml.training.train import split_clips
from tests.audio_files import write_audio
from tests.speechlike import speechlike
from tests.toy_model import write_toy_model

EXPERIMENT = Path(__file__).parents[1] / "experiments" / "smoke.toml"


def test_every_clip_is_heard_as_often_in_recordings_of_a_minute(toy_manifest: Path) -> None:
    clips = [clip for clip in read_manifest(toy_manifest) if not clip.is_spoof]
    recordings = joined(clips, seed=1)
    length_s = {clip.path: clip.duration_s for clip in clips}
    heard = [path for recording in recordings for path in recording]
    assert sorted(heard) == sorted(TURNS * [clip.path for clip in clips])
    whole = [sum(length_s[path] for path in recording) for recording in recordings]
    longest_s = max(length_s.values())
    assert all(length <= RECORDING_S + longest_s for length in whole)
    assert sum(length >= RECORDING_S for length in whole) >= len(whole) - TURNS
    assert joined(clips, seed=1) == recordings != joined(clips, seed=2)
    assert joined([], seed=1) == []


def test_rates_are_those_that_the_stretches_were_drawn_with() -> None:
    rng = np.random.default_rng(1)
    found = [Searched(1.0, tuple(rng.exponential(8.0, rng.poisson(3.0)))) for _ in range(2_000)]
    chance = fitted(2.0, found)
    assert chance is not None
    assert chance.hop_s == 2.0
    assert chance.per_minute == pytest.approx(3.0, rel=0.05)
    assert chance.decay == pytest.approx(1.0 / 8.0, rel=0.05)
    heavier = sum(weight >= 20.0 for one in found for weight in one.weights)
    assert chance.expected(20.0, 2_000.0) == pytest.approx(heavier, rel=0.2)


def test_of_a_few_stretches_nothing_is_told() -> None:
    assert fitted(2.0, [Searched(1.0, (3.0,) * (FEWEST - 1))]) is None
    assert fitted(2.0, [Searched(1.0, (3.0,) * FEWEST)]) is not None
    assert fitted(2.0, []) is None


LINES = st.builds(StretchChance, hop_s=st.just(2.0), per_minute=st.floats(0.1, 50.0), decay=st.floats(0.01, 20.0))


@given(st.lists(LINES, min_size=1, max_size=8), st.floats(0.0, HEAVIEST))
def test_no_condition_expects_more_than_the_line_above_all(lines: list[StretchChance], weight: float) -> None:
    above = above_all(lines)
    assert above.hop_s == 2.0
    worst = max(line.expected(weight, 1.0) for line in lines)
    assert worst <= above.expected(weight, 1.0) * (1.0 + 1e-9)
    assert above.expected(0.0, 1.0) == max(line.per_minute for line in lines)
    end = max(math.log(line.per_minute) - line.decay * HEAVIEST for line in lines)
    assert math.log(above.per_minute) - above.decay * HEAVIEST == pytest.approx(end)


def test_the_worst_condition_decides_and_one_with_few_stretches_tells_nothing() -> None:
    often, heavy = Searched(10.0, (1.0,) * 2 * FEWEST), Searched(10.0, (30.0,) * FEWEST)
    few = Searched(1.0, (500.0,) * (FEWEST - 1))
    measured = Measured((Line("a", 2.0, [often]), Line("b", 2.0, [heavy]), Line("c", 2.0, [few])), ())
    (chance,) = measured.chances
    assert chance == above_all(
        [StretchChance(2.0, FEWEST / 5.0, 1.0), StretchChance(2.0, FEWEST / 10.0, 1.0 / 30.0)]
    )
    assert Measured((Line("c", 2.0, [few]),), ()).chances == ()


def test_marked_is_what_is_expected_less_than_once() -> None:
    chance = StretchChance(hop_s=2.0, per_minute=4.0, decay=0.1)  # once in a minute: 13.9; in five: 30.0
    line = Line("a", 2.0, [Searched(2.0, (1.0, 14.0)), Searched(0.5, (31.0, 13.0))])
    assert line.marked(chance, 1.0) == pytest.approx(2 / 2.5)
    assert line.marked(chance, 5.0) == pytest.approx(5 * 1 / 2.5)
    told = Measured((line,), ()).lines([chance])
    assert any("too few" in row and row.endswith("marked  0.80,  2.00") for row in told)
    assert Line("a", 2.0, []).marked(chance, 1.0) == 0.0


def test_the_conditions_are_those_of_the_goals_but_a_cut() -> None:
    assert set(HEARD_UNDER) == {CLEAN, *GOAL_CONDITIONS} - {"short_1.5s"}


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A copy of the default detector: the toy corpus' human half is noise to it, and has stretches enough."""
    graph = default_model_path()
    for suffix in (".onnx", ".json"):
        shutil.copy(graph.with_suffix(suffix), tmp_path / f"copy{suffix}")
    return tmp_path / "copy.onnx"


@pytest.fixture
def two_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight would take minutes."""
    monkeypatch.setattr("ml.evaluation.chance.HEARD_UNDER", (CLEAN, "noise_10db"))


@pytest.mark.usefixtures("two_conditions")
def test_the_spec_gets_what_was_measured_and_nothing_else_changes(
    toy_manifest: Path, shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load_spec(shipped)
    arguments = ["--experiment", str(EXPERIMENT), "--manifest", str(toy_manifest), "--model", str(shipped)]
    assert main([*arguments, "--jobs", "1"]) == 0
    assert load_spec(shipped) == before
    assert main([*arguments, "--jobs", "1", "--write"]) == 0
    printed = capsys.readouterr().out
    after = load_spec(shipped)
    assert replace(after, stretch_chance=before.stretch_chance) == before
    clips, split = split_clips(load_experiment(EXPERIMENT, {"data.manifest": str(toy_manifest)}))
    human = [clips[i] for i in split.heldout if not clips[i].is_spoof]
    again = measure(shipped, human, seed=1, jobs=1)
    assert after.stretch_chance == again.chances
    for line in again.lines(again.chances):
        assert line in printed


@pytest.mark.usefixtures("two_conditions")
def test_a_split_is_compared_with_the_spec_and_fits_nothing(
    toy_manifest: Path, shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load_spec(shipped)
    arguments = ["--split", "dev", "--manifest", str(toy_manifest), "--model", str(shipped), "--jobs", "1"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    human = [clip for clip in read_manifest(toy_manifest) if clip.split == "dev" and not clip.is_spoof]
    assert f"{len(human)} human clips, dev" in printed
    for chance in before.stretch_chance:
        assert f"{chance.per_minute:.2f} x exp(-{chance.decay:.4f} w)" in printed
    assert printed.count("marked ") == 2 * 2
    with pytest.raises(SystemExit):
        main([*arguments, "--write"])
    assert load_spec(shipped) == before


def test_a_clip_that_cannot_be_read_is_named_and_the_others_are_heard(
    toy_manifest: Path, shipped: Path, tmp_path: Path
) -> None:
    human = [clip for clip in read_manifest(toy_manifest) if not clip.is_spoof][:8]
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF not really")
    load(shipped)
    paths = [clip.path for clip in human]
    heard, without = _hear(Recording([*paths[:4], broken, *paths[4:]], [1])), _hear(Recording(paths, [1]))
    (line,) = heard.left_out
    assert line.startswith(str(broken))
    assert heard == replace(without, left_out=(line,))
    assert list(without.by_condition) == list(HEARD_UNDER)
    assert without.by_condition[CLEAN][2.0].minutes > 0.0
    assert without.by_condition[CLEAN] != without.by_condition["noise_10db"]
    assert _hear(Recording([broken], [1])).by_condition == {}
    assert measure(shipped, [human[0], replace(human[0], path=broken)], seed=1, jobs=1).left_out == (line,)


def test_what_cannot_be_used_is_told(
    toy_manifest: Path, shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--experiment", str(EXPERIMENT), "--manifest", str(toy_manifest)]
    assert main([*arguments, "--model", str(tmp_path / "none.onnx")]) == 2
    assert "none.onnx" in capsys.readouterr().err
    assert main(["--experiment", str(EXPERIMENT), "--manifest", str(tmp_path / "none.csv")]) == 2
    assert "none.csv" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*arguments, "--jobs", "0"])


def test_the_shipped_models_have_it_for_both_hops() -> None:
    for name in ("latest", "accurate"):
        spec = load_spec(default_model_path().with_name(f"{name}.onnx"))
        assert {chance.hop_s for chance in spec.stretch_chance} == {spec.window.hop_s, spec.window.window_s}


@pytest.mark.parametrize("hop_s", [2.0, 4.0])
def test_what_is_searched_is_what_a_report_would_find(hop_s: float, tmp_path: Path) -> None:
    """In every other five seconds somebody speaks and hisses, which the toy takes for synthesis."""
    scorer = load_scorer(write_toy_model(tmp_path))
    voice = speechlike(40.0)
    hiss = np.diff(np.random.default_rng(0).normal(0, 0.02, voice.size), n=2, prepend=[0.0, 0.0])
    spoken = (np.arange(voice.size) // 80_000 % 2 == 0) & (np.abs(voice) > 1e-3)
    sound = np.where(spoken, voice + hiss, 0.0).astype(np.float32)
    path = write_audio(tmp_path / "a.wav", sound, codec="pcm_f32le")
    options = ExamineOptions(long_recording_s=0.0 if hop_s == 4.0 else 100.0, deletions=False)
    grounds = examine(path, scorer, options).grounds
    assert grounds is not None
    assert grounds.stretches
    found = searched(sound, speech_of(sound), scorer, hop_s)
    assert found.weights == pytest.approx([stretch.weight for stretch in grounds.stretches])
    assert 0.0 < found.minutes < 0.75 * 40.0 / 60.0
