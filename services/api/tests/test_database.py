"""A database that can't be used is told apart from one that can before anything is written, and the message helps."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import make_url as parse
from sqlalchemy import text

from app.application import CantStartError
from app.database import Database, DatabaseUnusableError


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
