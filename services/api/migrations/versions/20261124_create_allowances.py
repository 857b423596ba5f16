"""Create allowances: what users have left of their quotas."""

import sqlalchemy as sa
from alembic import op

revision = "20261124_create_allowances"
down_revision = "20261124_create_replays"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "allowances",
        sa.Column("user_name", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("spent_until_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_name", "kind"),
    )


def downgrade() -> None:
    op.drop_table("allowances")
