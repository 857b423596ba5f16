"""The figure over frames, and the table of frames that it is read back from."""

import csv
from pathlib import Path

import pytest

from ml.datasets.manifest import read_manifest
from ml.evaluation.scored_split import ScoringOptions
from ml.evaluation.scores import EvaluationInputError
from ml.evaluation.segments import SegmentFigures, segment_figures

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "audio" / "latest.onnx"


def figures(manifest: Path, folder: Path) -> SegmentFigures:
    clips = [clip for clip in read_manifest(manifest) if clip.split == "dev"]
    return segment_figures(SHIPPED, clips, folder, "dev", count=4, options=ScoringOptions(jobs=1, quiet=True))


def test_frames_are_kept_and_the_figure_is_that_of_the_kept_frames(toy_manifest: Path, tmp_path: Path) -> None:
    first = figures(toy_manifest, tmp_path)
    assert first.frame_s == 0.16
    assert (first.pooled.recordings, len(first.by_donor)) == (4, 2)
    assert first.pooled.frames == sum(part.frames for part in first.by_donor) >= 4 * 10
    assert 0 < first.pooled.spoof_frames < 0.75 * first.pooled.frames
    assert figures(toy_manifest, tmp_path) == first

    (path,) = tmp_path.glob("dev-splices-4-*.csv")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    with path.open("w", newline="") as file:  # as a perfect network would have scored them
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "score": row["is_spoof"]} for row in rows)
    perfect = figures(toy_manifest, tmp_path)
    assert perfect.pooled.eer == 0.0
    assert perfect.pooled.spoof_frames == first.pooled.spoof_frames

    path.write_text("clip,score\na,1\n")
    with pytest.raises(EvaluationInputError, match="--fresh"):
        figures(toy_manifest, tmp_path)
