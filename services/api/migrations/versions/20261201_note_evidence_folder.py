"""Create evidence_folder: by which mark the folder of this database's evidence is known."""

import sqlalchemy as sa
from alembic import op

revision = "20261201_note_evidence_folder"
down_revision = "20261124_show_progress"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "evidence_folder",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("mark", sa.String(64), nullable=False),
        sa.Column("noted_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name="one_row"),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    op.drop_table("evidence_folder")
