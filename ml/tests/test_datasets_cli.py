"""The command line as a user types it, in a process of its own where that matters."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ml.datasets.cli import EXIT_FAILED, main
from ml.datasets.recipes import RECIPES
from ml.tests import miniatures
from ml.tests.corpus_server import serve


@pytest.fixture
def site_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


def test_module_runs_and_lists_every_recipe() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ml.datasets", "list", "--json"], capture_output=True, text=True, check=True
    )
    assert [row["name"] for row in json.loads(done.stdout)] == list(RECIPES)
    assert done.stderr == ""


def test_list_as_text_names_every_recipe_and_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(recipe.name in out and recipe.homepage in out for recipe in RECIPES.values())
    assert "parts: protocols, train, dev, eval" in out


def test_download_prepare_validate_in_three_commands(
    site_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    miniatures.asvspoof2019_la(site_folder)
    root, manifest = str(tmp_path / "la"), str(tmp_path / "la.csv")
    with serve(site_folder) as site:
        assert main(["download", "asvspoof2019-la", root, "--base-url", site.url]) == 0
    assert "LA.zip: sha256:" in capsys.readouterr().out
    assert main(["prepare", "asvspoof2019-la", root, manifest]) == 0
    assert capsys.readouterr().out == f"{manifest}: 7 clips\n"
    assert main(["validate", manifest]) == 0
    assert "warning leak_lineage" not in capsys.readouterr().out  # the miniature's A16 has no A04 beside it


def test_given_checksum_is_used(site_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    miniatures.asvspoof2019_la(site_folder)
    with serve(site_folder) as site:
        arguments = ["download", "asvspoof2019-la", str(tmp_path / "la"), "--base-url", site.url]
        assert main([*arguments, "--checksum", "LA.zip=md5:" + "0" * 32]) == EXIT_FAILED
        assert "does not have the checksum" in capsys.readouterr().err
        given = miniatures.checksums(site_folder)["LA.zip"]
        assert main([*arguments, "--checksum", f"LA.zip={given}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["LA.zip"]["trust"] == "given"


@pytest.mark.parametrize("text", ["LA.zip", "LA.zip=md5:12", "=md5:" + "0" * 32, "LA.zip=crc:" + "0" * 32])
def test_malformed_checksum_is_a_usage_error(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["download", "asvspoof2019-la", "x", "--checksum", text])
    assert stopped.value.code == 2
    assert "FILE=md5:HEX" in capsys.readouterr().err


def test_error_is_one_line_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "asvspoof2019-la", str(tmp_path), str(tmp_path / "la.csv")]) == EXIT_FAILED
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_corpus_without_an_address_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "earcorpus", str(tmp_path)]) == EXIT_FAILED
    assert "no public address" in capsys.readouterr().err


def test_skipped_clips_are_pointed_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    miniatures.earcorpus(tmp_path / "corpus")
    (tmp_path / "corpus/train/audio/b.flac").write_bytes(b"")
    arguments = ["prepare", "earcorpus", str(tmp_path / "corpus"), str(tmp_path / "c.csv")]
    assert main(arguments) == EXIT_FAILED
    assert "b.flac: the file is empty" in capsys.readouterr().err
    assert main([*arguments, "--on-corrupt", "skip", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["clips"], facts["skipped"]) == (3, str(tmp_path / "c.skipped.csv"))
