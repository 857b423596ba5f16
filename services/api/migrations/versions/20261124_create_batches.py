"""Create batches and batch_items: many recordings examined."""

import sqlalchemy as sa
from alembic import op

revision = "20261124_create_batches"
down_revision = "20261124_trace_runs"
branch_labels = None
depends_on = None

STATUSES = ("PREPARING", "RUNNING", "CANCELLED", "DONE", "FAILED")
STATES = ("WAITING", "ENTERED", "DONE", "FAILED", "CANCELLED")


def enumeration(values: tuple[str, ...], name: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "batches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.Column("created_by", sa.String(128), nullable=False),
        sa.Column("finished_at", time),
        sa.Column("name", sa.String(255)),
        sa.Column("import_path", sa.String(1024)),
        sa.Column("model_version", sa.String(128)),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("request_fingerprint", sa.String(64), nullable=False),
        sa.Column("status", enumeration(STATUSES, "status"), nullable=False),
        sa.Column("failure_code", sa.String(64)),
        sa.Column("failure_message", sa.Text()),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("duplicates", sa.Integer(), nullable=False),
        sa.Column("entered", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.CheckConstraint("(status = 'FAILED') = (failure_code IS NOT NULL)", name="failure_has_code"),
        sa.CheckConstraint("done + failed <= entered AND entered <= total", name="counts_fit"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("created_by", "idempotency_key"),
    )
    op.create_index("ix_batches_created_at_id", "batches", ["created_at", "id"])
    op.create_index("ix_batches_finished_at", "batches", ["finished_at"])
    op.create_table(
        "batch_items",
        sa.Column("batch_id", sa.Uuid(), sa.ForeignKey("batches.id"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("path", sa.Text()),
        sa.Column("analysis_id", sa.Uuid()),
        sa.Column("run_id", sa.Uuid()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("state", enumeration(STATES, "state"), nullable=False),
        sa.Column("failure_code", sa.String(64)),
        sa.Column("failure_message", sa.Text()),
        sa.CheckConstraint("(state = 'FAILED') = (failure_code IS NOT NULL)", name="failure_has_code"),
        sa.PrimaryKeyConstraint("batch_id", "position"),
    )
    op.create_index("ix_batch_items_state_batch_id", "batch_items", ["state", "batch_id"])


def downgrade() -> None:
    op.drop_table("batch_items")
    op.drop_table("batches")
