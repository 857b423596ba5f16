"""The queue library's tables, types and functions in our database, at the version of the library that is installed.

    install(connection)      # by the Alembic migration: all of it, and what it consists of
    bring_up(connection)     # at every start: what a newer library adds
    remove(connection)       # by the downgrade

The library ships its whole schema for a new database and, for one that has it, a file for every change, to be applied
in order. `queue_changes` remembers which of them a database has.
"""

from pathlib import Path

import structlog
from procrastinate.schema import SchemaManager
from sqlalchemy import Connection, text

from app.jobs.repository import driver_connection

OBJECTS = {
    "TABLE": "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() "
    "AND starts_with(tablename, 'procrastinate_')",
    "FUNCTION": "SELECT CAST(CAST(oid AS regprocedure) AS text) FROM pg_proc "
    "WHERE pronamespace = CAST(current_schema() AS regnamespace) AND starts_with(proname, 'procrastinate_')",
    "TYPE": "SELECT typname FROM pg_type WHERE typnamespace = CAST(current_schema() AS regnamespace) "
    "AND starts_with(typname, 'procrastinate_') AND typtype IN ('c', 'e')",
}
"""What the library's schema consists of, and the names of all of it; indices, triggers and sequences go with tables."""

log = structlog.get_logger(__name__)


def install(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE queue_changes (name text PRIMARY KEY)"))
    driver_connection(connection).execute(SchemaManager.get_schema())
    _remember(connection, [path.name for path in _changes()])


def bring_up(connection: Connection) -> None:
    """Nothing where the database has it all, or has no queue."""
    if connection.scalar(text("SELECT to_regclass('queue_changes')")) is None:
        return
    known = set(connection.scalars(text("SELECT name FROM queue_changes")))
    for path in _changes():
        if path.name not in known:
            driver_connection(connection).execute(path.read_bytes())
            _remember(connection, [path.name])
            log.info("queue_schema_changed", change=path.name)


def remove(connection: Connection) -> None:
    """Waiting jobs are lost with their tables; their records stay QUEUED, and an older version's start finds them."""
    for kind, query in OBJECTS.items():
        for name in connection.scalars(text(query)).all():
            connection.execute(text(f"DROP {kind} IF EXISTS {name} CASCADE"))
    connection.execute(text("DROP TABLE queue_changes"))


def _changes() -> list[Path]:
    return sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))


def _remember(connection: Connection, names: list[str]) -> None:
    connection.execute(text("INSERT INTO queue_changes (name) VALUES (:name)"), [{"name": name} for name in names])
