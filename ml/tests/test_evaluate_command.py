"""`python -m ml.evaluation evaluate` on the shipped graph and toy speech: what it keeps, prints and refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from earwitness.model_spec import file_sha256, load_spec
from ml.datasets.manifest import read_manifest, write_manifest
from ml.evaluation.__main__ import main
from ml.evaluation.scored_split import scoring_key
from ml.tests.test_asv_scores import TRIALS_2019

pytestmark = pytest.mark.pipeline

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "models" / "audio" / "latest.onnx"
PATIENCE_S = 120.0
THREE = "clean,opus_16k,g711"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory, toy_manifest: Path) -> Path:
    dev = [clip for clip in read_manifest(toy_manifest) if clip.split == "dev"]
    return write_manifest(tmp_path_factory.mktemp("few") / "manifest.csv", dev[:16])


@pytest.fixture
def arguments(tmp_path: Path, manifest: Path) -> list[str]:
    candidate = tmp_path / "run" / "candidate"
    candidate.mkdir(parents=True)
    for suffix in (".onnx", ".json"):
        shutil.copy(SHIPPED.with_suffix(suffix), candidate / f"model{suffix}")
    return [
        "evaluate", "--run", str(tmp_path / "run"), "--manifest", str(manifest), "--jobs", "1", "--quiet",
        "--splices", "0",
    ]  # fmt: skip


def tables(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Of each score table by its condition: when it was written, and what is in it."""
    paths = [p for p in folder.glob("dev-*-????????????????.csv") if "splices" not in p.name]
    return {p.name.split("-")[1]: (p.stat().st_mtime_ns, p.read_bytes()) for p in paths}


def test_a_scoring_that_was_killed_goes_on_where_it_was(arguments: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "run" / "evaluation"
    command = [sys.executable, "-m", "ml.evaluation", *arguments, "--conditions", THREE]
    # A group of its own, so that the processes that score are killed with it.
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + PATIENCE_S
    while "clean" not in tables(folder) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = tables(folder)
    assert "clean" in before
    assert not (folder / "dev.json").exists(), "killed too late to show anything"
    assert main([*arguments, "--conditions", THREE]) == 0
    after = tables(folder)
    assert set(after) == {"clean", "opus_16k", "g711"}
    assert {name: after[name] for name in before} == before, "what was finished is not scored again"
    assert main([*arguments, "--conditions", THREE, "--fresh"]) == 0
    anew = tables(folder)
    assert all(anew[name][0] > after[name][0] for name in after), "--fresh scores everything again"
    assert {name: content for name, (_, content) in anew.items()} == {n: c for n, (_, c) in after.items()}


def test_a_shipped_model_is_judged_by_its_name(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--model", "accurate"]) == 2
    assert "--run or --model, not both" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    named = [arguments[0], *arguments[3:], "--model"]
    candidate = tmp_path / "run" / "candidate" / "model.onnx"
    other = replace(load_spec(candidate), model_version="another")
    candidate.with_suffix(".json").write_text(other.to_json())
    for name, version in (("default", load_spec(SHIPPED).model_version), (str(candidate), "another")):
        assert main([*named, name]) == 0
        assert version in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "runs" / "shipped").iterdir()} == {"latest", "model"}
    assert main([*named, "none.onnx"]) == 2


def test_another_graph_seed_or_recording_is_scored_anew(tmp_path: Path, manifest: Path) -> None:
    clips = read_manifest(manifest)[:2]
    keys = {scoring_key(SHIPPED, clips, 1), scoring_key(SHIPPED, clips, 2), scoring_key(SHIPPED, clips[:1], 1)}
    other = tmp_path / "other.onnx"
    other.write_bytes(SHIPPED.read_bytes() + b" ")
    spec = replace(load_spec(SHIPPED), graph_sha256=file_sha256(other))
    other.with_suffix(".json").write_text(spec.to_json())
    keys.add(scoring_key(other, clips, 1))
    recording = tmp_path / "clip.wav"
    shutil.copy(clips[0].path, recording)
    moved = [replace(clips[0], path=recording)]
    keys.add(scoring_key(SHIPPED, moved, 1))
    recording.write_bytes(recording.read_bytes()[:-2])
    keys.add(scoring_key(SHIPPED, moved, 1))
    assert len(keys) == 6
    assert scoring_key(SHIPPED, clips, 1) in keys


def test_robustness_adds_conditions_and_says_how_many_verdicts_flip(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--robustness", "--splices", "8"]) == 0
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "run" / "evaluation" / "dev.json").read_text())
    names = {part["name"] for part in report["summary"]["by_condition"]}
    changes = {"edges_trimmed", "quieter_20db", "reencoded_mp3_64k", "resampled_22k", "band_0.1-5khz"}
    assert names == {"clean", *changes}
    assert {flips["condition"] for flips in report["summary"]["flips"]} == changes
    assert "Verdicts against the clean recording's" in printed
    goals = {goal["key"]: goal for goal in report["goals"]}
    assert goals["eer_worst_condition"]["met"] is None, "no condition of the goal was scored"
    assert report["segments"]["pooled"]["recordings"] == 8
    assert {part["name"] for part in report["segments"]["by_donor"]} == {
        "copy of the same recording",
        "published synthesis",
    }
    assert goals["segment_eer"]["figure"] == report["segments"]["pooled"]["eer"]
    assert "Place: segment EER" in printed
    page = (tmp_path / "run" / "evaluation" / "dev.html").read_text()
    assert "edges_trimmed" in page
    assert "Place: segment EER" in page


def test_the_min_tdcf_is_in_the_text_the_page_and_the_report(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = tmp_path / "asv.txt"
    scores.write_text(TRIALS_2019)
    assert main([*arguments, "--asv-scores", str(scores)]) == 0
    assert "min t-DCF" in capsys.readouterr().out
    folder = tmp_path / "run" / "evaluation"
    summary = json.loads((folder / "dev.json").read_text())["summary"]
    assert 0.0 <= summary["min_tdcf_2019"] <= 1.0
    assert f"{summary['min_tdcf_2021']:.4f}" in (folder / "dev.html").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--asv-scores", "none.txt"], "can't read the verification scores none.txt"),
        (["--asv-keys", "none.txt"], "needs --asv-scores"),
        (["--splices", "-1"], "--splices"),
        (["--conditions", "clean,opus_17k"], "opus_17k"),
        (["--split", "test"], "no clips in the split 'test'"),
    ],
)
def test_a_wrong_option_is_an_error_before_anything_is_scored(
    arguments: list[str], tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run" / "evaluation").exists()


def test_clips_that_can_t_be_spliced_are_told_before_anything_is_scored(
    arguments: list[str], tmp_path: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    human = [clip for clip in read_manifest(manifest) if not clip.is_spoof]
    one_class = write_manifest(tmp_path / "human.csv", human)
    call = [*arguments[:4], str(one_class), *arguments[5:-1], "8"]
    assert main(call) == 2
    assert "`--splices 0` leaves their goal unmeasured" in capsys.readouterr().err
    assert not (tmp_path / "run" / "evaluation").exists()


def test_failures_are_counted_by_condition(
    arguments: list[str], tmp_path: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = read_manifest(manifest)
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF not really")
    call = [*arguments[:4], str(write_manifest(tmp_path / "m.csv", [*clips, replace(clips[0], path=broken)]))]
    assert main([*call, *arguments[5:], "--conditions", "clean,g711"]) == 0
    assert "clips: 17 of dev, 1 failed (1 under g711)\n" in capsys.readouterr().out
