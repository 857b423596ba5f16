"""Planted shortcuts are found, and those that the canonical view removes are seen to be gone."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from earwitness.waveform import SAMPLE_RATE_HZ, Samples, sample_count
from ml.datasets.cli import EXIT_UNFIT, main
from ml.datasets.manifest import HUMAN, Clip, Kind, Label, write_manifest
from ml.datasets.shortcuts import FeatureAuc, ShortcutReport, folded_auc, name_scores, report_text, shortcut_report
from ml.datasets.trivial import FEATURES, FRAME, measure
from ml.wav import write_wav

COUNT = 24  # clips of each class: a chance AUC stays well under the planted ones


def voice(rng: np.random.Generator) -> Samples:
    """The same for both classes: half a second of shaped noise at one level."""
    noise = rng.normal(0, 0.05, sample_count(0.5))
    return noise.astype(np.float32)


Plant = Callable[[Samples], Samples]


def corpus(folder: Path, plant: Plant, **spoof_changes: object) -> list[Clip]:
    clips = []
    for number in range(2 * COUNT):
        spoof = number % 2 == 1
        samples = voice(np.random.default_rng(number))
        path = folder / f"{number}.wav"
        write_wav(path, plant(samples) if spoof else samples)
        facts = {
            "codec": "pcm_s16le",
            "source_rate_hz": (16_000, 22_050, 24_000)[number // 2 % 3],
            "duration_s": 0.5,
        } | (spoof_changes if spoof else {})
        clips.append(
            Clip(
                path=path,
                label=Label.SPOOF if spoof else Label.BONAFIDE,
                kind=Kind.TTS if spoof else Kind.HUMAN,
                system="s" if spoof else HUMAN,
                lineage="s" if spoof else HUMAN,
                speaker="unknown",
                source_set="set",
                source_repo="repo",
                language="en",
                sample_rate_hz=SAMPLE_RATE_HZ,
                split="train",
                corpus="mine",
                **facts,  # type: ignore[arg-type]
            )
        )
    return clips


def same(samples: Samples) -> Samples:
    return samples


def report(clips: list[Clip]) -> ShortcutReport:
    return shortcut_report(clips, per_split=None, seed=0)


def feature(found: ShortcutReport, name: str) -> FeatureAuc:
    return next(row for row in found.features if row.feature == name)


def pad_front(samples: Samples) -> Samples:
    return np.concatenate((np.zeros(sample_count(0.2), dtype=np.float32), samples))


def pad_back(samples: Samples) -> Samples:
    return np.concatenate((samples, np.zeros(sample_count(0.2), dtype=np.float32)))


def low_pass(samples: Samples) -> Samples:
    spectrum = np.fft.rfft(samples)
    spectrum[samples.size // 4 :] = 0  # above 4 kHz
    return np.fft.irfft(spectrum, samples.size).astype(np.float32)


def pauses(samples: Samples) -> Samples:
    quiet = samples.copy()
    quiet[2000:5000] *= 0.001
    return quiet


PLANTS = {
    # feature: what is done to spoof clips, where they then lie, whether the canonical view takes it away
    "leading_silence_s": (pad_front, "higher", False),
    "trailing_silence_s": (pad_back, "higher", False),
    "duration_s": (lambda samples: samples[:-800], "lower", False),
    "level_dbfs": (lambda samples: samples * np.float32(0.5), "lower", True),
    "noise_floor_dbfs": (pauses, "lower", False),
    "bandwidth_hz": (low_pass, "lower", False),
    "clipped_share": (lambda samples: np.clip(samples * np.float32(12), -1, 1), "higher", True),
    # 10 times the mean that half a second of this noise has by chance; of 0.02 the canonical view's filter leaves
    # 7e-5 at the edges, which an AUC would still find.
    "dc": (lambda samples: samples + np.float32(0.005), "higher", True),
}


def test_every_measured_feature_has_its_plant() -> None:
    assert set(PLANTS) == set(FEATURES)


@pytest.mark.parametrize("name", list(PLANTS))
def test_planted_shortcut_is_found(tmp_path: Path, name: str) -> None:
    plant, direction, removed = PLANTS[name]
    found = feature(report(corpus(tmp_path, plant)), name)
    assert found.auc_before > 0.95
    assert found.spoof_is == direction
    assert found.leaks
    assert found.auc_after is not None
    assert (found.auc_after < 0.7) is removed


def test_corpus_without_shortcuts_has_none_of_the_planted_ones(tmp_path: Path) -> None:
    found = report(corpus(tmp_path, same))
    for name in ("leading_silence_s", "trailing_silence_s", "duration_s", "clipped_share", "codec", "container"):
        assert feature(found, name).auc_before == pytest.approx(0.5, abs=0.05), name
    assert feature(found, "level_dbfs").auc_after == 0.5


def test_codec_that_tells_the_classes_apart(tmp_path: Path) -> None:
    found = feature(report(corpus(tmp_path, same, codec="flac")), "codec")
    assert found.auc_before > 0.95
    assert found.spoof_is == "by name"
    assert found.auc_after is None
    assert found.leaks


def test_source_rate_that_tells_the_classes_apart(tmp_path: Path) -> None:
    assert feature(report(corpus(tmp_path, same, source_rate_hz=48_000)), "source_rate_hz").auc_before > 0.95


def test_bit_rate_that_tells_the_classes_apart(tmp_path: Path) -> None:
    found = feature(
        report(corpus(tmp_path, same, duration_s=1.0)), "bit_rate_kbps"
    )  # as if stored in half the size
    assert (found.auc_before, found.spoof_is) == (1.0, "lower")


def test_same_seed_gives_the_same_report(tmp_path: Path) -> None:
    clips = corpus(tmp_path, same)
    first, again = (shortcut_report(clips, per_split=20, seed=3) for _ in range(2))
    assert first == again
    assert sum(first.clips["train"]) == 20


def test_split_with_one_class_tells_nothing(tmp_path: Path) -> None:
    found = report([clip for clip in corpus(tmp_path, same) if clip.is_spoof])
    assert found.features == ()
    assert "only one class" in report_text(found)


def test_unreadable_clip_is_listed_and_left_out(tmp_path: Path) -> None:
    clips = corpus(tmp_path, same)
    clips[0].path.write_bytes(b"no recording")
    clips[1].path.unlink()
    found = report(clips)
    assert found.clips == {"train": (COUNT - 1, COUNT - 1)}
    assert len(found.unreadable) == 2
    assert "2 recordings could not be read" in report_text(found)


@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_auc_is_folded_and_keeps_its_direction(flip: float) -> None:
    rng = np.random.default_rng(4)
    spoof = rng.random(200) < 0.4
    values = flip * (rng.normal(0, 1, 200) + spoof)
    auc, direction = folded_auc(spoof, values)
    assert auc == pytest.approx(max(roc_auc_score(spoof, values), roc_auc_score(~spoof, values)))
    assert auc > 0.6
    assert direction == ("higher" if flip > 0 else "lower")


def test_name_that_occurs_once_can_not_score_itself() -> None:
    spoof = np.arange(200) % 2 == 1
    names = [f"only-{number}" for number in range(200)]
    assert roc_auc_score(spoof, name_scores(names, spoof, seed=0)) == 0.5


def test_names_drawn_at_random_tell_nothing() -> None:
    rng = np.random.default_rng(5)
    spoof = rng.random(2000) < 0.5
    names = [str(name) for name in rng.integers(0, 6, 2000)]
    assert folded_auc(spoof, name_scores(names, spoof, seed=0))[0] < 0.55


def test_measures_of_a_known_recording() -> None:
    rng = np.random.default_rng(6)
    body = rng.uniform(-0.5, 0.5, sample_count(1.0)).astype(np.float32)
    samples = np.concatenate(
        (np.zeros(sample_count(0.3), np.float32), body, np.zeros(sample_count(0.2), np.float32))
    )
    found = measure(samples)
    assert found["duration_s"] == pytest.approx(1.5)
    assert found["leading_silence_s"] == pytest.approx(0.3)
    assert found["trailing_silence_s"] == pytest.approx(0.2)
    # Uniform noise of +-0.5 has a mean square of 1/12; a third of the recording is silent.
    assert found["level_dbfs"] == pytest.approx(10 * np.log10(1 / 12 / 1.5), abs=0.1)
    assert found["bandwidth_hz"] == pytest.approx(8000, abs=100)
    assert found["clipped_share"] == 0.0


def test_band_edge_is_where_the_sound_ends() -> None:
    noise = np.random.default_rng(7).normal(0, 0.1, sample_count(2.0)).astype(np.float32)
    assert measure(low_pass(noise))["bandwidth_hz"] == pytest.approx(
        4000, abs=200
    )  # the window widens it by a few bins


def test_silence_can_be_measured() -> None:
    found = measure(np.zeros(sample_count(0.5), dtype=np.float32))
    assert (found["level_dbfs"], found["bandwidth_hz"]) == (-120.0, 0.0)


def test_less_than_a_frame_can_not() -> None:
    with pytest.raises(ValueError, match="too short to measure"):
        measure(np.zeros(FRAME - 1, dtype=np.float32))


def test_command_line_prints_the_table_and_warns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_manifest(tmp_path / "m.csv", corpus(tmp_path, pad_front))
    assert main(["shortcuts", str(manifest)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if "leading_silence_s" in line]
    assert line.split() == ["leading_silence_s", "1.000", "1.000", "higher", "WARNING"]
    assert main(["shortcuts", str(manifest), "--strict", "--json"]) == EXIT_UNFIT
    assert "train: leading_silence_s" in json.loads(capsys.readouterr().out)["warnings"]
