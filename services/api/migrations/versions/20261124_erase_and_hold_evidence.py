"""Add what erases and holds evidence to analysis_records."""

import sqlalchemy as sa
from alembic import op

revision = "20261124_erase_and_hold_evidence"
down_revision = "20261124_open_event_types"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
COLUMNS = (
    ("held_at", TIME),
    ("held_by", sa.String(128)),
    ("hold_reason", sa.String(512)),
    ("erased_at", TIME),
    ("erased_by", sa.String(128)),
    ("erasure_reason", sa.String(512)),
    ("removed_at", TIME),
)


def upgrade() -> None:
    for name, kind in COLUMNS:
        op.add_column("analysis_records", sa.Column(name, kind))


def downgrade() -> None:
    for name, _ in COLUMNS:
        op.drop_column("analysis_records", name)
