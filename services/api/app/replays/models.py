"""`run_replays`: one row for each replay. Append-only, as the runs are; the record goes on to show its newest run."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, Integer, String, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from app.orm import Base, JsonDict, UtcDateTime, string_enum
from app.runs.models import RunOutcome


class RunReplay(Base):
    __tablename__ = "run_replays"
    __table_args__ = (
        CheckConstraint("(outcome = 'FAILED') = (failure_code IS NOT NULL)", name="failure_has_code"),
        CheckConstraint("difference_count >= 0", name="difference_count_range"),
        Index("ix_run_replays_analysis_id_finished_at", "analysis_id", "finished_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    analysis_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("analysis_records.id"))
    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("detector_runs.id"))
    requested_by: Mapped[str] = mapped_column(String(128))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime] = mapped_column(UtcDateTime)
    processing_ms: Mapped[int] = mapped_column(BigInteger)
    evidence_sha256: Mapped[str] = mapped_column(String(64))
    """Of the stored bytes, read again just before."""
    model_version: Mapped[str] = mapped_column(String(128))
    model_sha256: Mapped[str | None] = mapped_column(String(64))
    tools: Mapped[JsonDict] = mapped_column(JSON)
    """Versions of now; those of then are in the run's method."""
    outcome: Mapped[RunOutcome] = mapped_column(string_enum(RunOutcome, "outcome"))
    failure_code: Mapped[str | None] = mapped_column(String(64))
    failure_message: Mapped[str | None] = mapped_column(Text)
    difference_count: Mapped[int] = mapped_column(Integer)
    differences: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    """The first of them, as far as they are kept."""
