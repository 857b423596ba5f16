"""Add detector_runs.grounds: signals, statements, stretches. Null for the runs of before, which had none."""

import sqlalchemy as sa
from alembic import op

revision = "20261123_add_grounds_to_runs"
down_revision = "20261123_add_method_to_runs"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("detector_runs", sa.Column("grounds", sa.JSON()))


def downgrade() -> None:
    op.drop_column("detector_runs", "grounds")
