"""All SQL on `run_replays`."""

import uuid
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.replays.models import RunReplay


def add(session: Session, replay: RunReplay) -> None:
    session.add(replay)
    session.flush()


def of_analysis(session: Session, analysis_id: uuid.UUID, *, limit: int, offset: int) -> Sequence[RunReplay]:
    """Newest first."""
    return session.scalars(
        select(RunReplay)
        .where(RunReplay.analysis_id == analysis_id)
        .order_by(RunReplay.finished_at.desc(), RunReplay.id.desc())
        .limit(limit)
        .offset(offset)
    ).all()
