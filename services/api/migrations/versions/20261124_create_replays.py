"""Create run_replays: runs that were repeated, and what came out otherwise. Append-only."""

import sqlalchemy as sa
from alembic import op

revision = "20261124_create_replays"
down_revision = "20261124_erase_and_hold_evidence"
branch_labels = None
depends_on = None


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    outcome = sa.Enum("DONE", "FAILED", name="outcome", native_enum=False, create_constraint=True, length=32)
    op.create_table(
        "run_replays",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("analysis_id", sa.Uuid(), sa.ForeignKey("analysis_records.id"), nullable=False),
        sa.Column("run_id", sa.Uuid(), sa.ForeignKey("detector_runs.id"), nullable=False),
        sa.Column("requested_by", sa.String(128), nullable=False),
        sa.Column("started_at", time, nullable=False),
        sa.Column("finished_at", time, nullable=False),
        sa.Column("processing_ms", sa.BigInteger(), nullable=False),
        sa.Column("evidence_sha256", sa.String(64), nullable=False),
        sa.Column("model_version", sa.String(128), nullable=False),
        sa.Column("model_sha256", sa.String(64)),
        sa.Column("tools", sa.JSON(), nullable=False),
        sa.Column("outcome", outcome, nullable=False),
        sa.Column("failure_code", sa.String(64)),
        sa.Column("failure_message", sa.Text()),
        sa.Column("difference_count", sa.Integer(), nullable=False),
        sa.Column("differences", sa.JSON(), nullable=False),
        sa.CheckConstraint("(outcome = 'FAILED') = (failure_code IS NOT NULL)", name="failure_has_code"),
        sa.CheckConstraint("difference_count >= 0", name="difference_count_range"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_run_replays_analysis_id_finished_at", "run_replays", ["analysis_id", "finished_at"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER run_replays_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON run_replays "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    else:
        for deed in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER run_replays_no_{deed.lower()} BEFORE {deed} ON run_replays "
                f"BEGIN SELECT RAISE(ABORT, 'run_replays is append-only'); END"
            )


def downgrade() -> None:
    op.drop_table("run_replays")
