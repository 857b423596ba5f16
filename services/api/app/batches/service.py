"""What can be done with batches, inside a transaction that the caller owns."""

import hashlib
import uuid
from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.audit import repository as audit
from app.audit.models import EventType
from app.batches import imports, repository
from app.batches.models import Batch, BatchStatus, ItemState
from app.batches.schemas import BatchRequest
from app.errors import BatchNotFoundError, IdempotencyKeyError, ImportPathError
from app.identity.user import User
from app.orm import utc_now

ROWS_A_STATEMENT = 1_000


def require(session: Session, batch_id: uuid.UUID, *, locked: bool = False) -> Batch:
    """Raises BatchNotFoundError."""
    batch = repository.get(session, batch_id, locked=locked)
    if batch is None:
        raise BatchNotFoundError(f"there is no batch {batch_id}")
    return batch


def create(session: Session, user: User, wanted: BatchRequest, idempotency_key: str | None) -> tuple[Batch, bool]:
    """The batch, and whether the same request with this key made it before. Raises IdempotencyKeyError."""
    fingerprint = hashlib.sha256(wanted.model_dump_json().encode()).hexdigest()
    if idempotency_key is not None:
        earlier = repository.by_idempotency_key(session, user.name, idempotency_key)
        if earlier is not None and earlier.request_fingerprint != fingerprint:
            raise IdempotencyKeyError("this Idempotency-Key came before with another batch")
        if earlier is not None:
            return earlier, True
    ids = list(dict.fromkeys(wanted.analysis_ids or ()))
    batch = Batch(
        id=uuid.uuid4(),
        created_at=utc_now(),
        created_by=user.name,
        name=wanted.name,
        import_path=wanted.import_path,
        model_version=wanted.model_version,
        idempotency_key=idempotency_key,
        request_fingerprint=fingerprint,
        status=BatchStatus.RUNNING if ids else BatchStatus.PREPARING,
        total=len(ids),
        duplicates=len(wanted.analysis_ids or ()) - len(ids),
        entered=0,
        done=0,
        failed=0,
    )
    repository.add(session, batch)
    for start in range(0, len(ids), ROWS_A_STATEMENT):
        add_analyses(session, batch.id, start, ids[start : start + ROWS_A_STATEMENT])
    audit.append(
        session,
        EventType.BATCH_CREATED,
        actor=user.name,
        analysis_id=None,
        details={"batch_id": str(batch.id), "import_path": batch.import_path, "analyses": len(ids)},
    )
    return batch, False


def add_analyses(session: Session, batch_id: uuid.UUID, start: int, ids: Sequence[uuid.UUID]) -> None:
    repository.add_items(
        session,
        (
            {"batch_id": batch_id, "position": start + n, "analysis_id": one, "state": ItemState.WAITING}
            for n, one in enumerate(ids)
        ),
    )


def add_paths(session: Session, batch_id: uuid.UUID, start: int, paths: Sequence[str]) -> None:
    """Whose name is no text has failed from the beginning: nobody could store it, nor ask for it again."""
    repository.add_items(session, (_path_row(batch_id, start + n, one) for n, one in enumerate(paths)))


def _path_row(batch_id: uuid.UUID, position: int, path: str) -> dict[str, object]:
    shown = imports.shown(path)
    is_text = shown == path
    return {
        "batch_id": batch_id,
        "position": position,
        "path": shown,
        "state": ItemState.WAITING if is_text else ItemState.FAILED,
        "failure_code": None if is_text else ImportPathError.code,
        "failure_message": None if is_text else imports.NO_TEXT,
    }


def cancel(session: Session, user: User, batch_id: uuid.UUID) -> Batch:
    """Begin nothing more. A batch that has ended stays as it is. Raises BatchNotFoundError."""
    batch = require(session, batch_id, locked=True)
    if batch.status in repository.OPEN:
        batch.status = BatchStatus.CANCELLED
        session.flush()
        audit.append(
            session,
            EventType.BATCH_CANCELLED,
            actor=user.name,
            analysis_id=None,
            details={"batch_id": str(batch.id), "entered": batch.entered, "total": batch.total},
        )
        close_if_finished(session, batch)
    return batch


def close_if_finished(session: Session, batch: Batch) -> None:
    """Where nothing of it is under way any more: once, with the one event of its end. The caller holds its row."""
    if batch.status is BatchStatus.RUNNING and batch.done + batch.failed == batch.total:
        batch.status = BatchStatus.DONE
    if batch.finished_at is not None or batch.status in repository.OPEN:
        return
    if batch.done + batch.failed < batch.entered:
        return
    batch.finished_at = utc_now()
    session.flush()
    audit.append(
        session,
        EventType.BATCH_FINISHED,
        actor=batch.created_by,
        analysis_id=None,
        details={"batch_id": str(batch.id), "done": batch.done, "failed": batch.failed, "total": batch.total},
    )
