"""`audit_events`: append-only and hash-chained. Triggers refuse UPDATE and DELETE; `app.audit.chain` hashes."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, String, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from app.orm import Base, JsonDict, UtcDateTime, string_enum


class EventType(StrEnum):
    EVIDENCE_RECEIVED = "evidence_received"
    EVIDENCE_READ = "evidence_read"
    EVIDENCE_ALTERED = "evidence_altered"
    """Found when it was read: the bytes in the store are no longer those that were received."""
    EVIDENCE_ERASED = "evidence_erased"
    ORPHAN_REMOVED = "orphan_removed"
    HOLD_PLACED = "hold_placed"
    HOLD_RELEASED = "hold_released"
    RUN_REQUESTED = "run_requested"
    RUN_DONE = "run_done"
    RUN_FAILED = "run_failed"
    REPORT_ISSUED = "report_issued"
    RUN_REPLAYED = "run_replayed"
    WEBHOOK_REGISTERED = "webhook_registered"
    WEBHOOK_ROTATED = "webhook_rotated"
    WEBHOOK_REMOVED = "webhook_removed"
    BATCH_CREATED = "batch_created"
    BATCH_CANCELLED = "batch_cancelled"
    BATCH_FINISHED = "batch_finished"
    MODELS_RELOADED = "models_reloaded"


class AuditEvent(Base):
    __tablename__ = "audit_events"
    __table_args__ = (
        CheckConstraint("sequence > 0", name="sequence_positive"),
        CheckConstraint("length(previous_hash) = 64 AND length(hash) = 64", name="hash_length"),
    )

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """1, 2, 3, ... without a gap."""
    id: Mapped[uuid.UUID] = mapped_column(Uuid, unique=True, default=uuid.uuid4)
    timestamp: Mapped[datetime] = mapped_column(UtcDateTime)
    event_type: Mapped[EventType] = mapped_column(string_enum(EventType, "event_type", constrained=False))
    analysis_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("analysis_records.id"), index=True)
    actor: Mapped[str] = mapped_column(String(128))
    details: Mapped[JsonDict] = mapped_column(JSON)
    previous_hash: Mapped[str] = mapped_column(String(64), unique=True)
    """Unique: two events can't follow the same one, so the chain has no branches."""
    hash: Mapped[str] = mapped_column(String(64), unique=True)
