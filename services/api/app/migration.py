"""Bringing a database to the schema of this version.

migrate(database)              # up to the newest revision, from whatever there is
migrate(database, "base")      # down to nothing: tests only, it drops every record
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from app.database import Database

MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"
MIGRATION_LOCK_ID = 0x65617278  # services that start together migrate one after the other


def migrate(database: Database, revision: str = "head") -> None:
    """Run the migrations in one transaction: all of them are applied, or none."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with database.engine.begin() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": MIGRATION_LOCK_ID})
        config.attributes["connection"] = connection
        if revision == "base":
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)
