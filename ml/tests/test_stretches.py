"""Whether the stretches that a report marks lie where synthesis was set in."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earwitness import pipeline
from earwitness.detector import DetectorOutput
from earwitness.grounds import SuspiciousStretch
from earwitness.scorer import Scorer
from ml.datasets.manifest import read_manifest, write_manifest
from ml.evaluation import stretches
from ml.evaluation.stretches import Marked, frames_of, main, told


def stretch(start_s: float, end_s: float) -> SuspiciousStretch:
    return SuspiciousStretch(start_s, end_s, strength=0.9, llr=2.0, peak_s=start_s)


def test_a_frame_is_marked_by_its_middle() -> None:
    found = frames_of([stretch(0.0, 0.16), stretch(0.56, 0.7)], 6)
    assert found.tolist() == [True, False, False, True, False, False]
    assert not frames_of([], 3).any()


def test_frames_are_counted_over_all_splices_and_recordings_one_by_one() -> None:
    synthetic = np.array([False, False, True, True])
    both = [Marked(np.array([True, False, True, True]), synthetic), Marked(np.zeros(4, np.bool_), synthetic)]
    line = told(both, [True, False, False, False])
    assert "of 2 spliced recordings 50% have one" in line
    assert "50% of the synthetic frames and 25% of the human ones" in line
    assert "Of 4 human recordings 25.0% have one." in line


def test_recordings_are_examined_as_the_service_does(
    toy_manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = read_manifest(toy_manifest)
    human = sum(clip.split == "dev" and not clip.is_spoof for clip in clips)
    arguments = ["--manifest", str(toy_manifest), "--count", "4", "--jobs", "1"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert "of 4 spliced recordings" in printed.out
    assert f"Of {human} human recordings" in printed.out
    assert main([*arguments, "--split", "nowhere"]) == 2
    assert "splices need human and synthetic recordings" in capsys.readouterr().err


@pytest.mark.parametrize(("marks", "share"), [(True, "100"), (False, "0")])
def test_stretches_of_the_whole_recording_mark_every_frame(
    marks: bool,
    share: str,
    toy_manifest: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And where the detector abstains, none."""

    def examine(path: Path, scorer: Scorer) -> DetectorOutput:
        output = pipeline.examine(path, scorer)
        assert output.grounds is not None
        return replace(output, grounds=replace(output.grounds, stretches=(stretch(0.0, 60.0),)) if marks else None)

    monkeypatch.setattr(stretches, "examine", examine)
    assert main(["--manifest", str(toy_manifest), "--count", "4", "--jobs", "1"]) == 0
    printed = capsys.readouterr().out
    assert f"spliced recordings {share}% have one" in printed
    assert f"marked are {share}% of the synthetic frames and {share}% of the human ones" in printed
    assert f"human recordings {share}.0% have one" in printed


def test_a_graph_that_cannot_be_used_is_told_before_anything_is_examined(
    toy_manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--manifest", str(toy_manifest), "--model", str(tmp_path / "none.onnx")]) == 2
    assert "none" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--manifest", str(toy_manifest), "--count", "0"])


def test_what_cannot_be_read_is_named_and_left_out(
    toy_manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = [clip for clip in read_manifest(toy_manifest) if clip.split == "dev"]
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF not really")
    first = next(i for i, clip in enumerate(clips) if not clip.is_spoof)
    clips[first] = replace(clips[first], path=broken)
    manifest = tmp_path / "manifest.csv"
    write_manifest(manifest, clips)
    assert main(["--manifest", str(manifest), "--count", "4", "--jobs", "1"]) == 0
    assert "broken.wav" in capsys.readouterr().err
