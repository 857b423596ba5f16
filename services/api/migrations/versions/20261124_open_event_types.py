"""Open the list of event types: later ones need no migration. Add analysis_records.run_model_version.

The service's own enumeration says which types there are; the CHECK on top of it meant a new table on SQLite for each
new type, and this table is the one that should be touched least. The hash chain covers the type as everything else.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261124_open_event_types"
down_revision = "20261123_add_grounds_to_runs"
branch_labels = None
depends_on = None

CONSTRAINT = "event_type"
EVENT_TYPES = (
    "evidence_received",
    "evidence_read",
    "run_requested",
    "run_done",
    "run_failed",
    "report_issued",
)


def upgrade() -> None:
    op.add_column("analysis_records", sa.Column("run_model_version", sa.String(128)))
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(op.f(f"ck_audit_events_{CONSTRAINT}"), "audit_events", type_="check")
    else:
        _rebuild(sa.String(32))


def downgrade() -> None:
    """Refused by the database where events of later types stand in the chain: nothing may take them out of it."""
    kind = sa.Enum(*EVENT_TYPES, name=CONSTRAINT, native_enum=False, create_constraint=True, length=32)
    if op.get_bind().dialect.name == "postgresql":
        names = ", ".join(f"'{name}'" for name in EVENT_TYPES)
        op.create_check_constraint(CONSTRAINT, "audit_events", f"event_type IN ({names})")
    else:
        _rebuild(kind)
    op.drop_column("analysis_records", "run_model_version")


def _rebuild(event_type: sa.types.TypeEngine[str]) -> None:
    """SQLite changes no constraint: the rows move into a new table, as they are, and its triggers are made anew."""
    op.drop_index("ix_audit_events_analysis_id", "audit_events")
    op.rename_table("audit_events", "audit_events_before")
    op.create_table(
        "audit_events",
        sa.Column("sequence", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_type", event_type, nullable=False),
        sa.Column("analysis_id", sa.Uuid(), sa.ForeignKey("analysis_records.id")),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.CheckConstraint("sequence > 0", name="sequence_positive"),
        sa.CheckConstraint("length(previous_hash) = 64 AND length(hash) = 64", name="hash_length"),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("previous_hash"),
        sa.UniqueConstraint("hash"),
    )
    op.execute("INSERT INTO audit_events SELECT * FROM audit_events_before ORDER BY sequence")
    op.drop_table("audit_events_before")
    op.create_index("ix_audit_events_analysis_id", "audit_events", ["analysis_id"])
    for deed in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER audit_events_no_{deed.lower()} BEFORE {deed} ON audit_events "
            f"BEGIN SELECT RAISE(ABORT, 'audit_events is append-only'); END"
        )
