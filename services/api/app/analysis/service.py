"""What can be done with analyses, inside a transaction that the caller owns."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.analysis import repository
from app.analysis.models import AnalysisRecord, MediaType
from app.audit import repository as audit
from app.audit.agreement import receipt_of
from app.audit.models import EventType
from app.errors import AnalysisNotFoundError, EvidenceErasedError, IdempotencyKeyError
from app.evidence.store import Received
from app.identity.user import User
from earwitness.finding import MediaInfo


def require(session: Session, analysis_id: uuid.UUID) -> AnalysisRecord:
    """Raises AnalysisNotFoundError."""
    record = repository.get(session, analysis_id)
    if record is None:
        raise AnalysisNotFoundError(f"there is no analysis {analysis_id}")
    return record


def require_evidence(session: Session, analysis_id: uuid.UUID) -> AnalysisRecord:
    """For whatever reads the evidence. Raises AnalysisNotFoundError and EvidenceErasedError."""
    record = require(session, analysis_id)
    if record.erased_at is not None:
        raise EvidenceErasedError(
            f"the evidence of this analysis was erased at {record.erased_at.isoformat(timespec='seconds')}: "
            f"{record.erasure_reason}; its record, runs and reports remain"
        )
    return record


def fingerprint(received: Received, filename: str, fields: Mapping[str, str | None]) -> str:
    """Equal for requests that say the same; what an Idempotency-Key is compared by."""
    content = {"sha256": received.sha256, "filename": filename, "fields": {k: v for k, v in fields.items() if v}}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def earlier_answer(session: Session, user: User, key: str, request_fingerprint: str) -> AnalysisRecord | None:
    """The record that the same request with this key made before, if any.

    Raises IdempotencyKeyError where the key came with another request.
    """
    record = repository.by_idempotency_key(session, user.name, key)
    if record is not None and record.request_fingerprint != request_fingerprint:
        raise IdempotencyKeyError("this Idempotency-Key came before with another recording or other fields")
    return record


def register(
    session: Session,
    *,
    user: User,
    received: Received,
    filename: str,
    fields: Mapping[str, str | None],
    media: MediaInfo,
    idempotency_key: str | None,
) -> AnalysisRecord:
    """Add the record of an upload and its audit event."""
    record = AnalysisRecord(
        id=uuid.uuid4(),
        created_by=user.name,
        media_type=MediaType(media.media_type),
        filename=filename,
        sha256=received.sha256,
        size_bytes=received.size_bytes,
        container=media.container,
        codec=media.codec,
        sample_rate_hz=media.sample_rate_hz,
        channels=media.channels,
        duration_s=media.declared_duration_s,
        idempotency_key=idempotency_key,
        request_fingerprint=fingerprint(received, filename, fields) if idempotency_key else None,
        **fields,
    )
    repository.add(session, record)
    (row,) = repository.stored(session, [record.id])
    audit.append(
        session,
        EventType.EVIDENCE_RECEIVED,
        actor=user.name,
        analysis_id=record.id,
        details=receipt_of(row),
    )
    return record


def just_after(moment: datetime) -> datetime:
    """The next instant that a timestamp can hold."""
    return moment + timedelta(microseconds=1)
