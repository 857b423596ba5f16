"""Operations: a command that is called in the wrong place, or whose store is away, says so and has changed nothing."""

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pydantic_settings import SettingsError

from app import commands
from app.evidence.store import FolderStore, NoStoreError

Upload = Callable[..., str]


@pytest.fixture
def left(service_process: Any, upload: Upload) -> Any:
    """A service that took one recording in and was stopped."""
    service_process.start()
    with service_process.client() as client:
        upload(client)
    service_process.stop()
    return service_process


def command(service: Any, name: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", name],
        cwd=folder,
        env={**os.environ, **service.environment, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", ["retention", "verify"])
def test_a_command_from_another_folder_finds_no_store_and_says_so(left: Any, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    due = {"EARWITNESS_EVIDENCE_DIR": "evidence", "EARWITNESS_EVIDENCE_RETENTION": "0.001"}
    done = command(left, name, elsewhere, **due)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert str(elsewhere / "evidence") in line and "EARWITNESS_EVIDENCE_DIR" in line
    assert list(elsewhere.iterdir()) == []
    database = sqlite3.connect(left.folder / "service.db")
    assert database.execute("SELECT erased_at, removed_at FROM analysis_records").fetchall() == [(None, None)]
    database.close()


def test_a_store_that_came_back_from_a_backup_without_its_empty_folders_is_one(left: Any) -> None:
    evidence = left.folder / "evidence"
    for empty in (evidence / "tmp", evidence / "unreferenced"):
        empty.rmdir()
    for name in ("verify", "orphans"):
        done = command(left, name, left.folder)
        assert done.returncode == 0, done.stderr


def test_a_folder_that_somebody_made_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(NoStoreError, match="no evidence store"):
        FolderStore(tmp_path, owner=False)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_away_is_told_in_one_line(left: Any) -> None:
    away = {
        "EARWITNESS_EVIDENCE_URL": "s3://bucket/cases",
        "EARWITNESS_EVIDENCE_ENDPOINT": "http://127.0.0.1:9",  # "discard": nobody listens
        "EARWITNESS_EVIDENCE_ACCESS_KEY": "key",
        "EARWITNESS_EVIDENCE_SECRET_KEY": "secret",
    }
    done = command(left, "verify", left.folder, **away)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("earwitness: the evidence store is not available")


def test_a_secret_that_may_not_be_read_is_told_with_its_path(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Made under umask 077 on the host, it can't be read by the container's user."""
    file = "/run/secrets/earwitness_database_url"

    def refused() -> NoReturn:
        try:
            raise PermissionError(errno.EACCES, "Permission denied", file)
        except PermissionError as error:
            raise SettingsError('error getting value for field "database_url"') from error

    monkeypatch.setattr(commands, "Settings", refused)
    before = os.umask(0o022)
    try:
        assert commands.main(["verify"]) == 2
    finally:
        os.umask(before)
    assert f"Permission denied: '{file}'" in capsys.readouterr().err
