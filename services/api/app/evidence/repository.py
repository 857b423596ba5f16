"""SQL on `evidence_folder`, and what the records name that the folder should hold."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from app.analysis.models import AnalysisRecord
from app.evidence.models import THE_ONE, EvidenceFolder
from app.orm import utc_now


def folder_mark(session: Session) -> str | None:
    return session.scalar(select(EvidenceFolder.mark))


def note_folder(session: Session, mark: str) -> str:
    """Remember `mark`, unless there is one already; the one that is remembered then."""
    insert = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgresql_insert
    row = insert(EvidenceFolder).values(id=THE_ONE, mark=mark, noted_at=utc_now())
    session.execute(row.on_conflict_do_nothing())
    return session.execute(select(EvidenceFolder.mark)).scalar_one()


def some_named(session: Session, limit: int) -> Sequence[str]:
    """Hashes of evidence that should be there; as good as drawn by lot, since they come in their order."""
    return session.scalars(
        select(AnalysisRecord.sha256)
        .where(AnalysisRecord.erased_at.is_(None))
        .distinct()
        .order_by(AnalysisRecord.sha256)
        .limit(limit)
    ).all()
