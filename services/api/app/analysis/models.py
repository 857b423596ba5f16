"""`analysis_records`: the state of each analysis and the finding of its newest run."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Float,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.orm import Base, JsonDict, UtcDateTime, string_enum, utc_now
from earwitness.finding import Verdict


class Status(StrEnum):
    UPLOADED = "UPLOADED"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


UNDER_WAY = (Status.QUEUED, Status.RUNNING)

NEARLY_ALL = 0.99
"""What progress shows at most before the end: a header may declare too little, and stretches are scored anew last."""


class MediaType(StrEnum):
    AUDIO = "audio"
    VIDEO = "video"


class AnalysisRecord(Base):
    __tablename__ = "analysis_records"
    __table_args__ = (
        CheckConstraint("confidence >= 0 AND confidence <= 1", name="confidence_range"),
        CheckConstraint("p_fake >= 0 AND p_fake <= 1", name="p_fake_range"),
        CheckConstraint("size_bytes > 0", name="size_positive"),
        CheckConstraint("length(sha256) = 64", name="sha256_length"),
        CheckConstraint("(status = 'FAILED') = (failure_code IS NOT NULL)", name="failure_has_code"),
        UniqueConstraint("created_by", "idempotency_key"),
        # Each serves one order of the list; without the last two a filtered page would sort every match.
        Index("ix_analysis_records_created_at_id", "created_at", "id"),
        Index("ix_analysis_records_status_created_at_id", "status", "created_at", "id"),
        Index("ix_analysis_records_verdict_created_at_id", "verdict", "created_at", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    created_by: Mapped[str] = mapped_column(String(128))

    # The evidence, as it was received
    media_type: Mapped[MediaType] = mapped_column(string_enum(MediaType, "media_type"))
    filename: Mapped[str] = mapped_column(String(255))
    """The user's label. Nothing is stored under it."""
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    container: Mapped[str | None] = mapped_column(String(128))
    codec: Mapped[str | None] = mapped_column(String(64))
    sample_rate_hz: Mapped[int | None] = mapped_column(Integer)
    channels: Mapped[int | None] = mapped_column(Integer)
    duration_s: Mapped[float | None] = mapped_column(Float)
    """What the header declares until a run has decoded it, then the length of the decoded sound."""
    case_id: Mapped[str | None] = mapped_column(String(128))
    exhibit_id: Mapped[str | None] = mapped_column(String(128))
    device_id: Mapped[str | None] = mapped_column(String(128))
    source: Mapped[str | None] = mapped_column(String(512))
    notes: Mapped[str | None] = mapped_column(Text)
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    request_fingerprint: Mapped[str | None] = mapped_column(String(64))

    # What keeps it, and what ended it (`app.retention`)
    held_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Since when a legal hold keeps the evidence from being erased."""
    held_by: Mapped[str | None] = mapped_column(String(128))
    hold_reason: Mapped[str | None] = mapped_column(String(512))
    erased_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """From here on this analysis has no evidence any more; the record, its runs and reports stay."""
    erased_by: Mapped[str | None] = mapped_column(String(128))
    erasure_reason: Mapped[str | None] = mapped_column(String(512))
    removed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the store gave the erased bytes up: later than `erased_at` where another analysis still held them."""

    # Where it stands
    status: Mapped[Status] = mapped_column(string_enum(Status, "status"), default=Status.UPLOADED)
    run_id: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    """The newest run, under way or ended; its row in `detector_runs` appears when it ends."""
    run_requested_by: Mapped[str | None] = mapped_column(String(128))
    run_model_version: Mapped[str | None] = mapped_column(String(128))
    """The model that the newest run was asked to be made with; None: whichever is active when it begins."""
    run_trace: Mapped[str | None] = mapped_column(String(64))
    """W3C trace context of the newest run's request, where traces are made (`app.tracing`)."""
    run_started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Since when a worker is, or was, at the newest run; None while it waits. Begun again by another: since then."""
    examined_s: Mapped[float | None] = mapped_column(Float)
    """How much of the recording the newest run has examined; None where that is not known (`app.runs.progress`)."""
    failure_code: Mapped[str | None] = mapped_column(String(64))
    failure_message: Mapped[str | None] = mapped_column(Text)

    # The finding of the newest run; until then nothing is evaluated, which is SUSPICIOUS at confidence 0
    verdict: Mapped[Verdict] = mapped_column(string_enum(Verdict, "verdict"), default=Verdict.SUSPICIOUS)
    confidence: Mapped[float] = mapped_column(Float, default=0.0)
    p_fake: Mapped[float | None] = mapped_column(Float)
    llr: Mapped[float | None] = mapped_column(Float)
    explanations: Mapped[list[str]] = mapped_column(JSON, default=list)
    signals: Mapped[JsonDict] = mapped_column(JSON, default=dict)
    abstentions: Mapped[list[str]] = mapped_column(JSON, default=list)
    model_version: Mapped[str | None] = mapped_column(String(128))
    processing_ms: Mapped[int | None] = mapped_column(BigInteger)

    @property
    def progress(self) -> float | None:
        """Part of the recording that the newest run has examined; 1 once it is DONE, and not before."""
        if self.status is Status.DONE:
            return 1.0
        if self.examined_s is None:
            return 0.0 if self.status in UNDER_WAY else None
        return min(self.examined_s / self.duration_s, NEARLY_ALL) if self.duration_s else None
