import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import pyworld

from earwitness.media import open_media
from earwitness.model_spec import file_sha256
from earwitness.signals.usual import (
    MODEL_SIGNALS,
    PERCENTS,
    bandwidth_class,
    parse_usual_ranges,
    read_usual_ranges,
)
from earwitness.signals.yin import track
from earwitness.suitability import SuitabilityMeter
from ml.datasets.manifest import Clip, Kind, Label, write_manifest
from ml.signals.__main__ import draw, main
from ml.signals.measure import Row, write_telephone_copy
from ml.signals.table import usual_table
from ml.tests.speechlike import speechlike
from ml.wav import write_wav
from tests.toy_model import rewrite_spec, write_toy_model


def clip(path: Path, label: Label, split: str) -> Clip:
    kind = Kind.HUMAN if label is Label.BONAFIDE else Kind.TTS
    return Clip(
        path, label, kind, kind.value, kind.value, "unknown", "made", "made", "unknown", 3.0, 16_000, "pcm_s16le",
        split, "made",
    )  # fmt: skip


def test_f0_agrees_with_world_s_harvest() -> None:
    """The reference that the library's own YIN is held against; speech-like sound with gliding pitch."""
    sound = speechlike(8.0, seed=3)
    count = sound.size // 256 - 4
    ours = track(sound, np.ones(count, np.bool_))
    theirs, times_s = pyworld.harvest(
        sound.astype(np.float64), 16_000, f0_floor=60.0, f0_ceil=500.0, frame_period=8.0
    )
    beside = np.interp((np.arange(count) * 256 + 370) / 16_000, times_s, np.where(theirs > 0, theirs, np.nan))
    both = ~np.isnan(ours) & ~np.isnan(beside)
    off_semitones = np.abs(12 * np.log2(ours[both] / beside[both]))
    assert both.sum() > 100
    assert np.median(off_semitones) < 0.4
    assert np.mean(off_semitones > 1.5) < 0.1


def row(label: str, pitch: float, distance: float, group: str = "wide") -> Row:
    return Row(label, group, {"pitch_sd_semitones": pitch, "ood_distance": distance})


def test_the_table_holds_percentiles_and_the_network_s_signals_come_from_held_out_clips() -> None:
    rows = [row("human", pitch, distance=1.0) for pitch in np.linspace(0, 10, 101)]
    held_out = [row("human", 5.0, distance) for distance in np.linspace(0, 4, 60)]
    table = usual_table(rows, held_out, graph_sha256="a" * 64, origin={"seed": 1})
    ranges = parse_usual_ranges(json.loads(json.dumps(table)))
    count, values = ranges.distributions["pitch_sd_semitones", "wide", "human"]
    assert count == 101
    assert values == pytest.approx([percent / 10 for percent in PERCENTS])
    assert ranges.distributions["ood_distance", "wide", "human"][0] == 60
    assert ranges.distributions["ood_distance", "wide", "human"][1][-1] == 4.0


def test_the_version_follows_what_was_measured() -> None:
    first, same, other = (
        usual_table([row("human", pitch, 1.0)], [], graph_sha256="a" * 64, origin={})["version"]
        for pitch in (1.0, 1.0, 2.0)
    )
    assert first == same != other


def test_clips_are_drawn_by_seed_and_balanced_by_label(tmp_path: Path) -> None:
    clips = [clip(tmp_path / f"{n}.wav", Label.SPOOF if n % 3 else Label.BONAFIDE, "train") for n in range(60)]
    clips += [clip(tmp_path / f"d{n}.wav", Label.SPOOF, "dev") for n in range(9)]
    drawn = draw(clips, "train", 15, seed=1)
    assert drawn == draw(clips, "train", 15, seed=1) != draw(clips, "train", 15, seed=2)
    assert [sum(c.label is label for c in drawn) for label in Label] == [15, 15]
    assert {c.split for c in drawn} == {"train"}


def test_a_telephone_copy_is_narrow(tmp_path: Path) -> None:
    write_telephone_copy(tmp_path / "t.wav", speechlike(4.0, seed=2))
    meter = SuitabilityMeter()
    with open_media(tmp_path / "t.wav") as media:
        assert media.info.sample_rate_hz == 8_000
        for block in media:
            meter.push(block)
        assert media.decoded_s == pytest.approx(4.0, abs=0.01)
    meter.finish()
    assert bandwidth_class(meter.measurements().bandwidth_hz) == "narrow"


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Of the command, for eight clips and one that is broken."""
    clips = []
    for n in range(8):
        path = tmp_path / f"{n}.wav"
        write_wav(path, speechlike(2.5, seed=n))
        clips.append(clip(path, Label.SPOOF if n % 2 else Label.BONAFIDE, "dev" if n > 5 else "train"))
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    clips.append(clip(tmp_path / "broken.wav", Label.SPOOF, "train"))
    manifest = write_manifest(tmp_path / "manifest.csv", clips)
    options = ["--out", str(tmp_path / "usual.json"), "--jobs", "1", "--telephone-every", "3", "--quiet"]
    return ["--manifest", str(manifest), "--model", str(write_toy_model(tmp_path)), *options]


def test_the_command_measures_a_corpus_and_writes_a_table_that_the_library_reads(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0

    out = tmp_path / "usual.json"
    ranges = read_usual_ranges(out)
    assert ranges is not None
    assert sum(n for (name, _, _), (n, _) in ranges.distributions.items() if name == "spectral_flux") == 6 + 3
    assert sum(n for (name, _, _), (n, _) in ranges.distributions.items() if name == "ood_distance") == 2 + 1
    origin = json.loads(out.read_text(encoding="utf-8"))["origin"]
    assert origin["command"].startswith("python -m ml.signals --manifest")
    assert ranges.version in capsys.readouterr().out


def test_another_network_s_own_signals_are_added_and_stay(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "usual.json"
    assert main([*arguments, "--beside"]) == 2
    assert "no table that can be used" in capsys.readouterr().err
    assert main(arguments) == 0
    first = read_usual_ranges(out)
    assert first is not None
    assert main([*arguments, "--beside"]) == 2
    assert "without --beside" in capsys.readouterr().err
    other = tmp_path / "other"
    other.mkdir()
    path = write_toy_model(other)
    graph = onnx.load(path)
    graph.doc_string = "another file"
    onnx.save(graph, path)
    rewrite_spec(path, graph_sha256=file_sha256(path))
    assert main([*arguments, "--model", str(path), "--beside"]) == 0
    both = read_usual_ranges(out)
    assert both is not None and both.distributions == first.distributions and both.version != first.version
    (added,) = both.networks.keys() - first.networks.keys()
    assert added == file_sha256(path)
    assert {name for name, _, _ in both.networks[added]} == MODEL_SIGNALS
    assert main(arguments) == 0
    again = read_usual_ranges(out)
    assert again is not None and again.networks == both.networks, "kept where the first is measured anew"


@pytest.mark.parametrize("missing", ["manifest", "model"])
def test_what_is_missing_is_named(tmp_path: Path, missing: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_toy_model(tmp_path) if missing == "manifest" else tmp_path / "none.onnx"
    manifest = tmp_path / "none.csv" if missing == "manifest" else write_manifest(tmp_path / "m.csv", [])
    assert main(["--manifest", str(manifest), "--model", str(model), "--out", str(tmp_path / "o.json")]) == 2
    assert "none" in capsys.readouterr().err
    assert not (tmp_path / "o.json").exists()
