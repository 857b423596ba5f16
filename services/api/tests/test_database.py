"""A database that can't be used is told apart from one that can before anything is written, and the message helps."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import make_url as parse
from sqlalchemy import text

from app.analysis import repository as records
from app.application import CantStartError
from app.database import Database, DatabaseUnusableError
from app.migration import migrate


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "is no database URL: write sqlite:///"),
        ("nonsense", "is no database URL: write sqlite:///"),
        ("postgresql://h:port/d", "is no database URL: write sqlite:///"),
        ("mysql://root:secret@h/d", "names `mysql`, which can't be worked with: write sqlite:///"),
        ("postgresql+asyncpg://h/d", r"names `postgresql\+asyncpg`"),
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
    ],
)
def test_a_url_that_can_t_be_used_is_refused_with_advice(url: str, complaint: str) -> None:
    with pytest.raises(DatabaseUnusableError, match=complaint) as caught:
        Database(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_way_to_write_postgresql_uses_the_one_driver(scheme: str) -> None:
    database = Database(f"{scheme}://u@h/d")
    assert database.url == parse("postgresql+psycopg://u@h/d")
    database.close()


def test_a_folder_that_can_t_be_made_is_named(make_client: Callable[..., TestClient]) -> None:
    with pytest.raises(CantStartError, match="/proc/nowhere"):
        make_client(database_url="sqlite:////proc/nowhere/x.db")


def test_what_is_read_is_one_state_whatever_others_commit_meanwhile(database: Database, new_record: Any) -> None:
    with database.read() as session:
        assert records.page(session, records.RecordFilter(), limit=1, offset=0)[1] == 0
        with database.write() as other:
            records.add(other, new_record())
        assert records.page(session, records.RecordFilter(), limit=1, offset=0)[1] == 0
    with database.read() as session:
        assert records.page(session, records.RecordFilter(), limit=1, offset=0)[1] == 1


def test_nobody_else_reads_the_file_or_its_log_under_the_usual_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        database = Database(f"sqlite:///{tmp_path}/records/earwitness.db")
        migrate(database)
        made = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
        database.close()
    finally:
        os.umask(before)
    files = dict.fromkeys(("earwitness.db", "earwitness.db-wal", "earwitness.db-shm"), 0o600)
    assert made == {"records": 0o700, **files}


def test_what_others_can_read_already_is_told_and_left(
    make_client: Callable[..., TestClient], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = [tmp_path / "evidence" / "blobs", tmp_path / "records" / "earwitness.db"]
    wide[0].mkdir(parents=True)
    wide[1].parent.mkdir()
    wide[1].touch()
    for path in wide:
        path.parent.chmod(0o755)
        path.chmod(0o755)
    make_client()
    make_client(database_url=f"sqlite:///{wide[1]}", evidence_dir=wide[0].parent)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "readable_by_others" in line]
    assert all(str(path) in line for path in wide)
    assert [stat.S_IMODE(path.stat().st_mode) for path in wide] == [0o755, 0o755]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_database_of_a_later_version_is_left_alone(
    make_client: Callable[..., TestClient], make_url: Any, kind: str
) -> None:
    url = make_url(kind)
    database = Database(url)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '29991231_later'"))
    with pytest.raises(CantStartError, match="made by another version of the service"):
        make_client(database_url=url)
    with database.read() as session:
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == "29991231_later"
    database.close()


def test_a_database_that_goes_away_is_503_and_its_return_is_noticed(
    make_client: Callable[..., TestClient],
    make_url: Any,
    postgres_uri: str,
    upload: Callable[..., str],
    wav: bytes,
) -> None:
    url = make_url("postgresql")
    name = parse(url).database
    client = make_client(database_url=url)
    analysis_id = upload(client)
    with psycopg.connect(postgres_uri, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")  # who reconnects would forbid the new name
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        admin.execute(f"ALTER DATABASE {name} RENAME TO {name}_away")
        for answer in (
            client.get(f"/v1/analysis/{analysis_id}"),
            client.post("/v1/analysis/upload", files={"file": ("b.wav", wav)}),
            client.post(f"/v1/analysis/{analysis_id}/run"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
            assert answer.headers["Retry-After"] and name not in answer.text
        assert client.get("/ready").json()["checks"]["database"] != "ok"
        admin.execute(f"ALTER DATABASE {name}_away RENAME TO {name}")
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert client.get("/v1/analysis").json()["total"] == 1
    assert client.post(f"/v1/analysis/{analysis_id}/run").json()["status"] == "DONE"
