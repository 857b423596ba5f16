"""Candidates of runs whose corpora are small or odd, and of exports that were stopped."""

from dataclasses import replace
from pathlib import Path

import pytest

from earwitness.model_spec import load_spec
from ml.config import Experiment
from ml.datasets.manifest import Kind, read_manifest, write_manifest
from ml.export import candidate
from ml.export.candidate import make_candidate
from ml.training.renderings import SOURCE
from ml.training.train import split_clips, train

pytestmark = pytest.mark.pipeline


def test_a_kind_of_a_single_clip_and_a_stopped_export_leave_a_whole_candidate(
    smoke_experiment: Experiment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clips, split = split_clips(smoke_experiment)
    alone = next(clips[i].path for i in split.train if clips[i].is_spoof)
    rows = [
        replace(clip, kind=Kind.VC) if clip.path == alone else clip
        for clip in read_manifest(Path(smoke_experiment.data.manifest))
    ]
    manifest = write_manifest(tmp_path / "m.csv", rows)
    short = replace(smoke_experiment.train, max_steps=1, evaluate_every=1)
    data = replace(smoke_experiment.data, manifest=str(manifest))
    train(replace(smoke_experiment, train=short, data=data), tmp_path / "run", quiet=True)
    graph = tmp_path / "run" / "candidate" / "model.onnx"

    class StoppedError(Exception):
        pass

    def stop(*_: object) -> None:
        raise StoppedError

    with monkeypatch.context() as patched:
        patched.setattr(candidate, "_draft", stop)
        with pytest.raises(StoppedError):
            make_candidate(tmp_path / "run")
    assert not list(graph.parent.glob("*.onnx")), "no graph without its spec"
    capsys.readouterr()
    make_candidate(tmp_path / "run")
    assert "too few clips: vc (1)" in capsys.readouterr().err
    drafted = load_spec(graph)
    assert len(drafted.ood.means) == 2, "human and tts"
    graph.with_suffix(".json").unlink()
    make_candidate(tmp_path / "run")
    assert load_spec(graph) == drafted
    calibrated = replace(drafted, thresholds_chosen="of a test")
    graph.with_suffix(".json").write_text(calibrated.to_json())
    make_candidate(tmp_path / "run")
    assert load_spec(graph) == calibrated, "the same network: its calibration stays"


def test_languages_are_those_that_are_known_and_renderings_are_counted_apart(toy_manifest: Path) -> None:
    one = read_manifest(toy_manifest)[0]
    told = ["en", "de", "und", "unknown", "en"]
    clips = [replace(one, language=language) for language in told]
    assert candidate._languages(clips) == {"languages": 2}
    own = [replace(one, language=language, source_repo=SOURCE) for language in ("en", "kl", "unknown")]
    assert candidate._languages([*clips, *own]) == {"languages": 2, "languages_rendered": 2}
