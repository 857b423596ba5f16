"""Classical synthesisers: those on PATH are asked, each voice has its row, and what does not speak is told."""

from pathlib import Path

import pytest

from ml.evaluation.classical import SENTENCES, VOICES, Voice, main, row, speak
from ml.tests.speechlike import speechlike
from ml.wav import write_wav

# Stands in the place of espeak-ng, with its options: a WAV file for what it was given, in a voice that it knows.
SYNTHESISER = """#!/bin/sh
case "$2" in *+f3) echo "unknown voice" >&2; exit 1;; esac
exec /bin/cp "{folder}/${{#5}}.wav" "$4"
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def synthesiser(path: Path) -> Path:
    said = path.with_name("said")
    said.mkdir()
    for length in {len(text) for text in SENTENCES}:
        write_wav(said / f"{length}.wav", speechlike(3.0, seed=length))
    program = path / "espeak-ng"
    program.write_text(SYNTHESISER.format(folder=said))
    program.chmod(0o755)
    return program


@pytest.mark.usefixtures("synthesiser")
def test_a_row_for_every_voice_that_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:4] for row in rows] == [
        ["espeak-ng", "en-us", "formants", str(len(SENTENCES))],
        ["espeak-ng", "en-us+m3", "formants", str(len(SENTENCES))],
    ]
    assert all(sum(int(count) for count in row[5:]) == len(SENTENCES) for row in rows)


@pytest.mark.usefixtures("path")
def test_without_a_synthesiser_it_says_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "install one" in capsys.readouterr().err


def test_a_missing_model_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", str(tmp_path / "none.onnx")]) == 2
    assert "none.onnx" in capsys.readouterr().err


def test_a_sentence_goes_to_standard_input_where_the_program_reads_it_there(path: Path, tmp_path: Path) -> None:
    program = path / "text2wave"
    program.write_text('#!/bin/sh\n/bin/cat > "$4"\n')
    program.chmod(0o755)
    (festival,) = [voice for voice in VOICES if voice.name == "kal_diphone"]
    assert speak(festival, "Good morning.", tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_text() == "Good morning."
    program.write_text("#!/bin/sh\nexit 1\n")
    assert not speak(festival, "Good morning.", tmp_path / "b.wav")


def test_a_row_counts_verdicts_and_spans_the_probabilities() -> None:
    voice = Voice("flite", "kal", "diphones", ())
    told = row(voice, [("SUSPICIOUS", 0.5), ("AUTHENTIC", 0.06), ("SUSPICIOUS", None)])
    assert told == "| flite | kal | diphones | 3 | 0.06 to 0.50 | 0 | 2 | 1 |"
    assert " - " in row(voice, [("SUSPICIOUS", None)])
