"""Add analysis_records.run_started_at and examined_s: how far a run is while it is under way."""

import sqlalchemy as sa
from alembic import op

revision = "20261124_show_progress"
down_revision = "20261124_create_batches"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("analysis_records", sa.Column("run_started_at", sa.DateTime(timezone=True)))
    op.add_column("analysis_records", sa.Column("examined_s", sa.Float()))


def downgrade() -> None:
    op.drop_column("analysis_records", "examined_s")
    op.drop_column("analysis_records", "run_started_at")
