"""All SQL on `detector_runs`."""

import uuid
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, Table, insert, select, true
from sqlalchemy.orm import Session

from app.runs.models import DetectorRun

_TABLE: Table = DetectorRun.__table__  # type: ignore[assignment]  # a Table, as the class declares one
_INSERT = insert(_TABLE)
_LONG = frozenset({"windows", "grounds", "method", "most_suspicious", "media", "timings_ms"})
_SHORT = tuple(column for column in _TABLE.c if column.name not in _LONG)


def add(session: Session, run: DetectorRun) -> None:
    """Write the row of a run that ended. What was not set takes its default; `run` itself stays outside the session."""
    session.execute(_INSERT, {name: value for name, value in vars(run).items() if name in _TABLE.c})


def get(session: Session, run_id: uuid.UUID) -> DetectorRun | None:
    return session.get(DetectorRun, run_id)


def stored(session: Session, run_ids: Collection[uuid.UUID], *, short: bool = False) -> Sequence[Row[Any]]:
    """The rows as they are in the database, past what the session holds; `short`: without what is long in them."""
    columns = _SHORT if short else tuple(_TABLE.c)
    return session.execute(select(*columns).where(_TABLE.c.id.in_(run_ids))).all()


def ids_after(session: Session, last: uuid.UUID | None, limit: int) -> Sequence[uuid.UUID]:
    """The next ids in their order; from the first one for None."""
    behind = _TABLE.c.id > last if last is not None else true()
    return session.scalars(select(_TABLE.c.id).where(behind).order_by(_TABLE.c.id).limit(limit)).all()


def known(session: Session, run_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of them that have a row."""
    return set(session.scalars(select(_TABLE.c.id).where(_TABLE.c.id.in_(run_ids))))


def of_analysis(session: Session, analysis_id: uuid.UUID, *, limit: int, offset: int) -> Sequence[DetectorRun]:
    """Runs that ended, newest first."""
    return session.scalars(
        select(DetectorRun)
        .where(DetectorRun.analysis_id == analysis_id)
        .order_by(DetectorRun.finished_at.desc(), DetectorRun.id.desc())
        .limit(limit)
        .offset(offset)
    ).all()
