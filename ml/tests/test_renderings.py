"""Own renderings: made once, the same for one seed, without the silence around; a voice that crashes is passed over."""

import sys
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earwitness.media import read_waveform
from ml.config import ConfigError, Experiment
from ml.datasets.manifest import UNKNOWN, Kind, Label
from ml.training.renderings import LONGEST_S, rendered_clips
from ml.training.train import split_clips, training_clips

# Stand in the place of the programs, with their options: speech between silences; one voice of espeak-ng crashes.
COMMON = f"""#!{sys.executable} -IS
import array, math, os, sys, wave
given = sys.argv[1:]
with open({{calls!r}}, "a") as calls:
    calls.write(" ".join(given) + "\\n")
"""
ESPEAK = """
if given == ["--voices"]:
    print("Pty Language       Age/Gender VoiceName          File                 Other Languages")
    for language in ("af", "en-gb", "cmn", "kl"):
        print(f" 5  {language}              --/M      Some_Name          xx/{language}")
    sys.exit()
voice, out, text = given[given.index("-v") + 1], given[given.index("-w") + 1], given[-1]
if voice.startswith("kl"):
    os.abort()
"""
FLITE = """
voice, out, text = given[given.index("-voice") + 1], given[given.index("-o") + 1], given[given.index("-t") + 1]
"""
SPEAK = """
tone = [int(9_000 * math.sin(i * (0.1 + len(text) / 500))) for i in range(16_000 * (2 + len(text) % 3))]
with wave.open(out, "wb") as file:
    file.setparams((1, 2, 16_000, 0, "NONE", ""))
    file.writeframes(array.array("h", [0] * 8_000 + tone + [0] * 8_000).tobytes())
"""
COUNT = 12


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder, calls = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    for name, own in (("espeak-ng", ESPEAK), ("flite", FLITE)):
        program = folder / name
        program.write_text(COMMON.format(calls=str(calls)) + own + SPEAK)
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return calls


def test_clips_say_what_they_are_and_have_no_silence_around(calls: Path, tmp_path: Path) -> None:
    clips = rendered_clips(COUNT, tmp_path / "cache")
    assert len(clips) == COUNT
    assert {clip.lineage for clip in clips} == {"espeak-ng", "flite"}
    for clip in clips:
        assert (clip.label, clip.kind, clip.split) == (Label.SPOOF, Kind.TTS, "train")
        samples, info = read_waveform(clip.path)
        assert info.sample_rate_hz == clip.sample_rate_hz == 16_000
        assert clip.duration_s == pytest.approx(samples.size / 16_000, abs=0.01)
        assert samples.size <= LONGEST_S * 16_000
        assert np.abs(samples[:160]).max() > 0.005 * np.abs(samples).max()
    languages = {clip.language for clip in clips}
    assert languages <= {"af", "en", UNKNOWN} and "en" in languages
    assert not any(" kl" in clip.system for clip in clips)
    assert "-v kl" in calls.read_text()  # it was asked, crashed, and another took its place


def test_they_are_made_once_and_are_a_function_of_the_seed(calls: Path, tmp_path: Path) -> None:
    first = rendered_clips(COUNT, tmp_path / "cache")
    content = [clip.path.read_bytes() for clip in first]
    made = len([line for line in calls.read_text().splitlines() if line != "--voices" and "-v kl" not in line])
    assert made == COUNT
    assert rendered_clips(COUNT, tmp_path / "cache") == first
    again = len([line for line in calls.read_text().splitlines() if line != "--voices" and "-v kl" not in line])
    assert again == COUNT
    elsewhere = rendered_clips(COUNT, tmp_path / "other")
    assert [clip.path.read_bytes() for clip in elsewhere] == content
    assert [clip.system for clip in rendered_clips(COUNT, tmp_path / "cache", seed=2)] != [c.system for c in first]


@pytest.mark.usefixtures("calls")
def test_they_stand_beside_the_corpus_in_the_training_part_alone(
    smoke_experiment: Experiment, tmp_path: Path
) -> None:
    data = replace(smoke_experiment.data, renderings=3, cache_dir=str(tmp_path / "cache"))
    experiment = replace(smoke_experiment, data=data)
    clips, split = split_clips(experiment)
    assert (clips, split) == split_clips(smoke_experiment)
    trained = training_clips(experiment, clips, split)
    assert [clip.corpus for clip in trained[-3:]] == ["own-renderings"] * 3
    assert trained[:-3] == training_clips(smoke_experiment, clips, split) == [clips[i] for i in split.train]


@pytest.mark.parametrize("missing", ["espeak-ng", "flite"])
def test_without_a_program_it_says_what_to_install(missing: str, calls: Path, tmp_path: Path) -> None:
    (calls.parent / "bin" / missing).unlink()
    with pytest.raises(ConfigError, match=f"needs {missing}: install it"):
        rendered_clips(1, tmp_path / "cache")
    assert rendered_clips(0, tmp_path / "cache") == []


def test_a_recording_that_was_cut_short_is_never_left_behind(calls: Path, tmp_path: Path) -> None:
    for clip in rendered_clips(4, tmp_path / "cache"):
        with wave.open(str(clip.path)) as file:
            assert file.getnframes() == len(file.readframes(10**9)) // 2
        assert sorted(path.suffix for path in clip.path.parent.iterdir()) == [".wav"] * 4
