"""Bringing a database to the schema of this version.

migrate(database)              # up to the newest revision, from whatever there is
downgrade(database, "base")    # down to nothing: it drops every record, so the service never does it
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, text

from app.database import Database, DatabaseUnusableError
from app.jobs import schema

MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"
MIGRATION_LOCK_ID = 0x65617278  # services that start together migrate one after the other


def migrate(database: Database, revision: str = "head") -> None:
    """Go up to `revision`. One transaction: all migrations are applied, or none; then what the queue library adds.

    Raises DatabaseUnusableError where the database stands at a revision that this version does not know.
    """
    _run(database, command.upgrade, revision)
    if not database.is_sqlite:
        with _locked(database) as connection:
            schema.bring_up(connection)


def downgrade(database: Database, revision: str) -> None:
    """Go back down to `revision`, in one transaction too; what the older schema has no place for is lost."""
    _run(database, command.downgrade, revision)


def _run(database: Database, step: Callable[[Config, str], None], revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with _locked(database) as connection:
        config.attributes["connection"] = connection
        try:
            step(config, revision)
        except CommandError as error:
            raise DatabaseUnusableError(
                f"the database can't be brought to the schema of this version ({error}): it was made by another "
                "version of the service; start that one, or name another database in EARWITNESS_DATABASE_URL"
            ) from error


@contextmanager
def _locked(database: Database) -> Iterator[Connection]:
    with database.engine.begin() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": MIGRATION_LOCK_ID})
        yield connection
