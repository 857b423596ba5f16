"""Connections and transactions, the same for SQLite and PostgreSQL.

    database = Database("sqlite:///var/earwitness.db")
    with database.write() as session:      # commits at the end, rolls back on an exception
        ...

Sessions are synchronous; async endpoints call them in the thread pool. Whoever serves a request or a job opens
the transaction; services below flush and never commit.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from sqlalchemy.orm import Session, sessionmaker

BUSY_TIMEOUT_MS = 30_000  # SQLite has one writer; a queue of short transactions drains well within this
POOL_CONNECTIONS = 40  # as many as the thread pool has threads, so that no thread waits for a connection
SYNC_FULL, SYNC_NORMAL = "FULL", "NORMAL"
"""SQLite's levels: the log is synced at every commit; only before it is copied into the file. Neither can tear it."""
_IMMEDIATE = "earwitness_begin_immediate"
_SYNCHRONOUS = "earwitness_synchronous"


DATABASE_AWAY = (OperationalError, InterfaceError, NoConnectionError)
"""Restarting, SQLite's one writer busy, a connection lost, none free in the pool: what passes by itself."""
DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
"""What a URL may name, and the driver that is used for it: the migrations and locks are made for these two only."""
SHAPES = "sqlite:///path/to/file.db or postgresql://user:password@host/database"


class DatabaseUnusableError(Exception):
    """The database can't be used as it is named, or as it is; the message says what to do, and holds no password."""


class Database:
    def __init__(self, url: str) -> None:
        """Connects to nothing yet, but makes SQLite's file. Raises DatabaseUnusableError where `url` names nothing that
        can be used, OSError where the file can't be made.
        """
        parsed = _parsed(url)
        self.url = parsed
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite:
            if not parsed.database or parsed.database == ":memory:":
                raise DatabaseUnusableError(
                    "EARWITNESS_DATABASE_URL must name a file, such as sqlite:///earwitness.db: every thread opens it "
                    "for itself"
                )
            _make_file(Path(parsed.database))
        self.engine = create_engine(
            parsed, pool_size=POOL_CONNECTIONS, max_overflow=10, pool_pre_ping=not self.is_sqlite
        )
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        durably = {_IMMEDIATE: True, _SYNCHRONOUS: SYNC_FULL}
        soon = {_IMMEDIATE: True, _SYNCHRONOUS: SYNC_NORMAL}
        self._write_failed = False  # since `check_writes` last saw one succeed
        # SQLite's transactions see one state from their first reading on; PostgreSQL's only where they ask for it
        consistently = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._read = sessionmaker(self.engine.execution_options(**consistently), expire_on_commit=False)
        self._write = sessionmaker(self.engine.execution_options(**durably), expire_on_commit=False)
        self._write_soon = sessionmaker(self.engine.execution_options(**soon), expire_on_commit=False)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session over one consistent reading transaction; what it changed would be rolled back."""
        with self._read() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session over one transaction that commits at the end.

        On SQLite it takes the write lock at its beginning: a transaction that reads first and writes later
        could otherwise be refused half way.
        """
        with self._noted(), self._write() as session, session.begin():
            yield session

    @contextmanager
    def write_soon(self) -> Iterator[Session]:
        """As `write`, but what it commits reaches the disk with the next commit of `write`, or a moment later.

        A killed service loses nothing of it; a power cut may. For marks that nobody was told of (docs/adr/0012).
        """
        with self._noted(), self._write_soon() as session, session.begin():
            if not self.is_sqlite:
                session.execute(text("SET LOCAL synchronous_commit = off"))
            yield session

    def ping(self) -> None:
        """Raises sqlalchemy.exc.SQLAlchemyError where the database can't be reached or has no tables."""
        with self.read() as session:
            session.execute(text("SELECT 1 FROM analysis_records LIMIT 1"))

    def check_writes(self) -> None:
        """Raises one of DATABASE_AWAY where a write failed and one that changes nothing fails as well.

        A full disk is read from as ever. While no write fails this asks nothing: SQLite's one writer is not kept busy.
        """
        if self._write_failed:
            with self.write_soon() as session:
                session.execute(text("UPDATE alembic_version SET version_num = version_num"))
            self._write_failed = False

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except DATABASE_AWAY:
            self._write_failed = True
            raise

    @property
    def libpq_url(self) -> str:
        """For PostgreSQL connections that are not SQLAlchemy's: the queue's and a listener's. Holds the password."""
        return self.url.set(drivername="postgresql").render_as_string(hide_password=False)

    def close(self) -> None:
        self.engine.dispose()


def _make_file(path: Path) -> None:
    """An empty one where there is none, which nobody else can read: the write-ahead log takes the file's mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(
        FileExistsError
    ):  # and isn't opened: to close it would end the locks of this process's connections
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        raise DatabaseUnusableError(f"EARWITNESS_DATABASE_URL is no database URL: write {SHAPES}") from error
    if parsed.drivername not in DRIVERS:
        raise DatabaseUnusableError(
            f"EARWITNESS_DATABASE_URL names `{parsed.drivername}`, which can't be worked with: write {SHAPES}"
        )
    return parsed.set(drivername=DRIVERS[parsed.drivername])


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where we say so, below
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute(f"PRAGMA synchronous = {SYNC_FULL}")  # an acknowledged upload survives a power cut
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if level := options.get(_SYNCHRONOUS):  # can't be set inside a transaction; the next one may want another
        connection.exec_driver_sql(f"PRAGMA synchronous = {level}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(_IMMEDIATE) else "BEGIN")
