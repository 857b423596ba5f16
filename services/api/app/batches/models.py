"""`batches` and `batch_items`: what is to be examined, how far it is, and how each item ended."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, String, Text, UniqueConstraint, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from app.orm import Base, UtcDateTime, string_enum


class BatchStatus(StrEnum):
    PREPARING = "PREPARING"
    """Its items are being listed."""
    RUNNING = "RUNNING"
    CANCELLED = "CANCELLED"
    """Nothing more is begun; what is in the queue ends."""
    DONE = "DONE"
    FAILED = "FAILED"
    """Its list can't be read; `failure_code` says why. Items that fail don't make a batch fail."""


class ItemState(StrEnum):
    WAITING = "WAITING"
    ENTERED = "ENTERED"
    """Its run waits in the queue or is under way."""
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    """Of a cancelled batch, and not entered before. Never stored: the batch says it."""


class Batch(Base):
    __tablename__ = "batches"
    __table_args__ = (
        CheckConstraint("(status = 'FAILED') = (failure_code IS NOT NULL)", name="failure_has_code"),
        CheckConstraint("done + failed <= entered AND entered <= total", name="counts_fit"),
        UniqueConstraint("created_by", "idempotency_key"),
        Index("ix_batches_created_at_id", "created_at", "id"),
        Index("ix_batches_finished_at", "finished_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(128))
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    name: Mapped[str | None] = mapped_column(String(255))
    import_path: Mapped[str | None] = mapped_column(String(1024))
    """Below the import folder: a folder, a list or a recording. None for a batch of analyses."""
    model_version: Mapped[str | None] = mapped_column(String(128))
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    request_fingerprint: Mapped[str] = mapped_column(String(64))

    status: Mapped[BatchStatus] = mapped_column(string_enum(BatchStatus, "status"))
    failure_code: Mapped[str | None] = mapped_column(String(64))
    failure_message: Mapped[str | None] = mapped_column(Text)
    total: Mapped[int] = mapped_column(Integer, default=0)
    duplicates: Mapped[int] = mapped_column(Integer, default=0)
    """Named a second time in the request, and left out."""
    entered: Mapped[int] = mapped_column(Integer, default=0)
    """Items are entered in their order: this is also the position of the next one."""
    done: Mapped[int] = mapped_column(Integer, default=0)
    failed: Mapped[int] = mapped_column(Integer, default=0)


class BatchItem(Base):
    __tablename__ = "batch_items"
    __table_args__ = (
        CheckConstraint("(state = 'FAILED') = (failure_code IS NOT NULL)", name="failure_has_code"),
        Index("ix_batch_items_state_batch_id", "state", "batch_id"),
    )

    batch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("batches.id"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """0, 1, 2, ..."""
    path: Mapped[str | None] = mapped_column(Text)
    """Below the import folder."""
    analysis_id: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    """As requested, so it may name none; of an import, once it is taken in."""
    run_id: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    """Runs that were requested for it: more than one where a stopping service interrupted them."""
    state: Mapped[ItemState] = mapped_column(string_enum(ItemState, "state"))
    failure_code: Mapped[str | None] = mapped_column(String(64))
    failure_message: Mapped[str | None] = mapped_column(Text)
