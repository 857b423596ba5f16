import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from earwitness import __version__
from earwitness.cli import main
from earwitness.model_spec import MODEL_ENVIRONMENT_VARIABLE
from tests.audio_files import write_audio, write_silent_film
from tests.speechlike import speechlike
from tests.toy_model import write_toy_model


@pytest.fixture(autouse=True)
def the_toy_is_the_model(toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODEL_ENVIRONMENT_VARIABLE, str(toy_model))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_audio(tmp_path / "clip.wav", speechlike(5.0))


def test_analyze_prints_text(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", str(clip)]) == 0
    assert "verdict      SUSPICIOUS" in capsys.readouterr().out


def test_analyze_prints_one_json_object_a_file(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = write_silent_film(tmp_path / "film.mp4")

    assert main(["analyze", "--json", str(clip), str(film)]) == 0

    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["sha256"] == hashlib.sha256(clip.read_bytes()).hexdigest()
    assert second["abstentions"] == ["no_audio_track"]


def test_a_bad_file_does_not_keep_the_others_from_being_judged(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound")

    assert main(["analyze", str(bad), str(clip)]) == 3

    printed = capsys.readouterr()
    assert "verdict" in printed.out
    assert "bad.wav is no recording" in printed.err


def test_the_prior_is_taken_into_account(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["analyze", "--json", str(clip)])
    main(["analyze", "--json", "--prior", "0.01", str(clip)])
    even, rare = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert rare["p_fake"] < even["p_fake"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["analyze", "none.wav"], 3),
        (["scan", "none", "--out", "s.csv"], 3),
        (["analyze", "clip.wav", "--model", "none.onnx"], 4),
        (["scan", "clip.wav", "--out", "s.csv", "--model", "none.onnx"], 4),
        (["scan", "clip.wav", "--out", "none/s.csv"], 5),
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_exit_codes_of_errors(
    clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], code: int, form: list[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(clip.parent)

    assert main(arguments + form) == code

    printed = capsys.readouterr()
    told = json.loads(printed.out)["error"]["message"] if form else printed.err
    assert "none" in told
    assert "Traceback" not in printed.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["listen"],
        ["analyze"],
        ["scan", "x"],
        ["scan", "x", "--out", "s.csv", "--jobs", "0"],
        ["scan", "x", "--out", "s.csv", "--jobs", "two"],
        ["scan", "x", "--out", "s.csv", "--timeout", "nan"],
        ["analyze", "x", "--prior", "1.0"],
    ],
)
def test_a_command_typed_wrongly_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: earwitness" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["analyze", "--help"], ["scan", "--help"]])
def test_help_tells_the_exit_codes(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "exit codes:" in capsys.readouterr().out


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "earwitness", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"earwitness {__version__}"


def test_scan_writes_a_row_for_each_and_goes_on(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    write_audio(folder / "a.mp3", speechlike(3.0), codec="libmp3lame", rate_hz=44_100)
    (folder / "b.wav").write_text("no sound")
    (folder / "c.wav").touch()
    write_silent_film(folder / "d.mp4")
    out = tmp_path / "s.csv"

    assert main(["scan", str(folder), str(clip), "--out", str(out), "--jobs", "2"]) == 0
    assert "5 recordings: 2 judged, 1 abstained, 2 failed, 0 already there" in capsys.readouterr().out
    written = out.read_bytes()
    wanted = [
        "scan",
        str(folder),
        str(clip),
        "--out",
        str(out),
        "--json",
        "--parquet",
        str(tmp_path / "s.parquet"),
    ]
    assert main(wanted) == 0
    assert json.loads(capsys.readouterr().out)["already_there"] == 5
    assert (tmp_path / "s.parquet").read_bytes()[:4] == b"PAR1"

    assert out.read_bytes() == written
    with out.open(newline="") as file:
        rows = {Path(row["path"]).name: row for row in csv.DictReader(file)}
    assert [rows[name]["error"].split(":")[0] for name in ("a.mp3", "b.wav", "c.wav", "d.mp4", "clip.wav")] == [
        "", "media_unreadable", "media_empty", "", "",
    ]  # fmt: skip
    assert rows["d.mp4"]["abstention"] == "no_audio_track"


def test_a_table_is_not_continued_with_another_model(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    other = write_toy_model(tmp_path / "other", model_version="toy-2")
    out = tmp_path / "s.csv"
    main(["scan", str(clip), "--out", str(out)])

    assert main(["scan", str(clip), "--out", str(out), "--model", str(other)]) == 5
    assert "another model" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error(clip: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "earwitness", "analyze", str(clip)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()


def test_a_package_adds_a_command_that_reads_its_own_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "more_commands.py").write_text(
        "def greet(arguments):\n    print('greeted', arguments)\n    return 7\n"
    )
    installed = tmp_path / "more_commands-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: more-commands\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[earwitness.commands]\ngreet = more_commands:greet\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert main(["greet", "--loudly", "you"]) == 7
    with pytest.raises(SystemExit):
        main(["--help"])

    out = capsys.readouterr().out
    assert "greeted ['--loudly', 'you']" in out and "see `earwitness greet --help`" in out
