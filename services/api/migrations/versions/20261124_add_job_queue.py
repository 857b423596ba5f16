"""Add the queue that workers on other hosts take runs from. On PostgreSQL only: elsewhere runs are done embedded."""

from alembic import op

from app.jobs import schema

revision = "20261124_add_job_queue"
down_revision = "20261124_create_webhooks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        schema.install(op.get_bind())


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        schema.remove(op.get_bind())
