"""Add detector_runs.method: what a run was made with. Null for the runs of before, which did not record it."""

import sqlalchemy as sa
from alembic import op

revision = "20261123_add_method_to_runs"
down_revision = "20261122_create_tables"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("detector_runs", sa.Column("method", sa.JSON()))


def downgrade() -> None:
    op.drop_column("detector_runs", "method")
