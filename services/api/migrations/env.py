"""Alembic's entry: takes a live connection from `app.migration`, or opens the one that the settings name."""

from alembic import context

import app.analysis.models
import app.audit.models
import app.batches.models
import app.evidence.models
import app.quotas.models
import app.replays.models
import app.runs.models
import app.webhooks.models  # noqa: F401  these imports fill Base.metadata
from app.database import Database
from app.orm import Base
from app.settings import Settings

connection = context.config.attributes.get("connection")
if connection is not None:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
else:
    database = Database(Settings().database_url)
    with database.engine.begin() as own_connection:
        context.configure(connection=own_connection, target_metadata=Base.metadata)
        with context.begin_transaction():
            context.run_migrations()
    database.close()
