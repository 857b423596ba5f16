"""Add analysis_records.run_trace: the trace that a run's request belongs to, for whichever process carries it out."""

import sqlalchemy as sa
from alembic import op

revision = "20261124_trace_runs"
down_revision = "20261124_add_job_queue"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("analysis_records", sa.Column("run_trace", sa.String(64)))


def downgrade() -> None:
    op.drop_column("analysis_records", "run_trace")
