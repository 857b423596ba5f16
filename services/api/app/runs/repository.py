"""All SQL on `detector_runs`."""

import uuid
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.runs.models import DetectorRun


def add(session: Session, run: DetectorRun) -> None:
    session.add(run)
    session.flush()


def get(session: Session, run_id: uuid.UUID) -> DetectorRun | None:
    return session.get(DetectorRun, run_id)


def of_analysis(session: Session, analysis_id: uuid.UUID, *, limit: int, offset: int) -> Sequence[DetectorRun]:
    """Runs that ended, newest first."""
    return session.scalars(
        select(DetectorRun)
        .where(DetectorRun.analysis_id == analysis_id)
        .order_by(DetectorRun.finished_at.desc(), DetectorRun.id.desc())
        .limit(limit)
        .offset(offset)
    ).all()
