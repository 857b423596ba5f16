"""All SQL on `detector_runs`."""

import uuid
from collections.abc import Sequence

from sqlalchemy import Table, insert, select
from sqlalchemy.orm import Session

from app.runs.models import DetectorRun

_TABLE: Table = DetectorRun.__table__  # type: ignore[assignment]  # a Table, as the class declares one
_INSERT = insert(_TABLE)


def add(session: Session, run: DetectorRun) -> None:
    """Write the row of a run that ended. What was not set takes its default; `run` itself stays outside the session."""
    session.execute(_INSERT, {name: value for name, value in vars(run).items() if name in _TABLE.c})


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
