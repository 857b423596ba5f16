"""Step B2: the schema comes from migrations, up and down, and is what the models say; it defends itself."""

import uuid
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from procrastinate.schema import SchemaManager
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

import app.analysis.models
import app.audit.models
import app.batches.models
import app.evidence.models
import app.replays.models  # noqa: F401  with the import below they fill Base.metadata
from app.analysis import repository as records
from app.audit import repository as audit
from app.audit.models import EventType
from app.database import Database
from app.migration import downgrade, migrate
from app.orm import Base
from app.runs.models import DetectorRun

TABLES = {
    "analysis_records",
    "detector_runs",
    "audit_events",
    "run_replays",
    "batches",
    "batch_items",
    "evidence_folder",
}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_migrations_run_up_down_and_up_from_an_empty_database(kind: str, make_url: Any) -> None:
    database = Database(make_url(kind, empty=True))
    migrate(database)
    assert set(inspect(database.engine).get_table_names()) >= TABLES
    downgrade(database, "base")
    assert not TABLES & set(inspect(database.engine).get_table_names())
    migrate(database)
    assert set(inspect(database.engine).get_table_names()) >= TABLES
    database.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_runs_of_before_the_method_column_survive_it_up_and_down(
    kind: str, make_url: Any, new_record: Any, new_run: Any
) -> None:
    database = Database(make_url(kind))
    record = new_record()
    with database.write() as session:
        records.add(session, record)
        session.add(new_run(record))
    downgrade(database, "20261122_create_tables")
    assert "method" not in {column["name"] for column in inspect(database.engine).get_columns("detector_runs")}
    migrate(database)
    with database.read() as session:
        assert session.scalars(select(DetectorRun.method)).all() == [None]
    with pytest.raises(DBAPIError, match="append-only"), database.write() as session:
        session.execute(text("UPDATE detector_runs SET requested_by = 'x'"))
    database.close()


def test_migrating_twice_changes_nothing(database: Database) -> None:
    migrate(database)
    with database.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM alembic_version")) == 1


def test_migrated_schema_is_what_the_models_say(database: Database) -> None:
    with database.engine.connect() as connection:
        options = {"compare_type": True, "include_object": is_ours}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def is_ours(_object: Any, name: str, kind: str, _reflected: bool, _compare_to: Any) -> bool:
    """The queue library's tables are its own business."""
    return kind != "table" or not name.startswith(("procrastinate_", "queue_changes"))


@pytest.mark.parametrize("confidence", [-0.01, 1.01, float("nan")])
def test_constraint_confidence_must_lie_within_0_and_1(
    database: Database, new_record: Any, confidence: float
) -> None:
    with pytest.raises(IntegrityError), database.write() as session:
        records.add(session, new_record(confidence=confidence))


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_constraint_confidence_bounds_are_allowed(database: Database, new_record: Any, confidence: float) -> None:
    with database.write() as session:
        records.add(session, new_record(confidence=confidence))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("verdict", "'MAYBE'"),
        ("verdict", "NULL"),
        ("status", "'LOST'"),
        ("media_type", "'image'"),
        ("sha256", "'abc'"),
        ("size_bytes", "0"),
        ("p_fake", "1.5"),
        ("failure_code", "'x'"),  # a failure code on a record that did not fail
    ],
)
def test_constraint_the_database_refuses(database: Database, new_record: Any, column: str, value: str) -> None:
    with database.write() as session:
        records.add(session, new_record())
    with pytest.raises(IntegrityError), database.write() as session:
        session.execute(text(f"UPDATE analysis_records SET {column} = {value}"))


def test_foreign_keys_are_enforced(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as session:
        audit.append(session, EventType.RUN_REQUESTED, actor="a", analysis_id=uuid.uuid4(), details={})


@pytest.mark.parametrize("table", ["audit_events", "detector_runs"])
@pytest.mark.parametrize("deed", ["UPDATE {} SET {} = 'x'", "DELETE FROM {}"])
def test_append_only_tables_refuse_changes(
    database: Database, new_record: Any, new_run: Any, table: str, deed: str
) -> None:
    with database.write() as session:
        record = new_record()
        records.add(session, record)
        session.add(new_run(record))
        audit.append(session, EventType.RUN_DONE, actor="a", analysis_id=record.id, details={})
    column = "actor" if table == "audit_events" else "requested_by"
    with pytest.raises(DBAPIError, match="append-only"), database.write() as session:
        session.execute(text(deed.format(table, column)))


def test_what_a_newer_queue_library_adds_is_applied_once(
    make_url: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(make_url("postgresql"))
    for known in Path(SchemaManager.get_migrations_path()).glob("*.sql"):
        (tmp_path / known.name).write_text("this was applied before, and must not be again")
    (tmp_path / "99.00.00_01_pre_more.sql").write_text("CREATE TABLE procrastinate_more (id integer);")
    monkeypatch.setattr(SchemaManager, "get_migrations_path", lambda: str(tmp_path))
    migrate(database)
    migrate(database)
    assert "procrastinate_more" in inspect(database.engine).get_table_names()
    downgrade(database, "base")
    assert "procrastinate_more" not in inspect(database.engine).get_table_names()
    database.close()
