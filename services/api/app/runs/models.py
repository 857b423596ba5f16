"""`detector_runs`: one row for each run that ended. Append-only: triggers refuse UPDATE and DELETE."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Float, ForeignKey, Index, String, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from app.orm import Base, JsonDict, UtcDateTime, string_enum
from earwitness.finding import Verdict


class RunOutcome(StrEnum):
    DONE = "DONE"
    FAILED = "FAILED"


class DetectorRun(Base):
    __tablename__ = "detector_runs"
    __table_args__ = (
        CheckConstraint("confidence >= 0 AND confidence <= 1", name="confidence_range"),
        CheckConstraint("p_fake >= 0 AND p_fake <= 1", name="p_fake_range"),
        CheckConstraint("length(evidence_sha256) = 64", name="sha256_length"),
        CheckConstraint("(outcome = 'FAILED') = (failure_code IS NOT NULL)", name="failure_has_code"),
        Index("ix_detector_runs_analysis_id_finished_at", "analysis_id", "finished_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    analysis_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("analysis_records.id"))
    requested_by: Mapped[str] = mapped_column(String(128))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime] = mapped_column(UtcDateTime)
    processing_ms: Mapped[int] = mapped_column(BigInteger)
    outcome: Mapped[RunOutcome] = mapped_column(string_enum(RunOutcome, "outcome"))
    failure_code: Mapped[str | None] = mapped_column(String(64))
    failure_message: Mapped[str | None] = mapped_column(Text)

    evidence_sha256: Mapped[str] = mapped_column(String(64))
    """Where the stored bytes were found altered, the hash that they had; else what the record says.

    `evidence_verified` tells whether they were read before the run and still had the record's.
    """
    evidence_verified: Mapped[bool]
    model_version: Mapped[str | None] = mapped_column(String(128))
    model_sha256: Mapped[str | None] = mapped_column(String(64))
    method: Mapped[JsonDict | None] = mapped_column(JSON(none_as_null=True))
    """What the run was made with (`app.runs.method`); None where it was not recorded."""

    verdict: Mapped[Verdict] = mapped_column(string_enum(Verdict, "verdict"), default=Verdict.SUSPICIOUS)
    confidence: Mapped[float] = mapped_column(Float, default=0.0)
    p_fake: Mapped[float | None] = mapped_column(Float)
    llr: Mapped[float | None] = mapped_column(Float)
    score: Mapped[float | None] = mapped_column(Float)
    explanations: Mapped[list[str]] = mapped_column(JSON, default=list)
    signals: Mapped[JsonDict] = mapped_column(JSON, default=dict)
    abstentions: Mapped[list[str]] = mapped_column(JSON, default=list)
    warnings: Mapped[list[str]] = mapped_column(JSON, default=list)
    windows: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    most_suspicious: Mapped[JsonDict | None] = mapped_column(JSON(none_as_null=True))
    media: Mapped[JsonDict | None] = mapped_column(JSON(none_as_null=True))
    duration_s: Mapped[float | None] = mapped_column(Float)
    grounds: Mapped[JsonDict | None] = mapped_column(JSON(none_as_null=True))
    """Signals, statements, stretches, deletion evidence (`earwitness.grounds`); None: the detector gave none."""
    timings_ms: Mapped[JsonDict] = mapped_column(JSON, default=dict)
