"""The evidence itself, back again."""

import base64
import uuid
from typing import Annotated
from urllib.parse import quote

import structlog
from fastapi import APIRouter, Depends
from fastapi.responses import StreamingResponse

from app.analysis import service as analyses
from app.audit import repository as audit
from app.audit.models import EventType
from app.audit.rows import require_record
from app.evidence.checked import checked
from app.identity.permissions import Action, allow
from app.identity.user import User
from app.problems import documented
from app.state import State

log = structlog.get_logger(__name__)

router = APIRouter(prefix="/v1/analysis/{analysis_id:uuid}", tags=["evidence"])


@router.get(
    "/evidence",
    summary="The bytes, as they were received",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The recording; `Repr-Digest` (RFC 9530) is the hash of its receipt",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
        **documented(400, 401, 403, 404, 410, 422, 500, 503),
    },
)
def get_evidence(
    analysis_id: uuid.UUID,
    state: State,
    user: Annotated[User, Depends(allow(Action.READ_EVIDENCE))],
) -> StreamingResponse:
    """Hashed on the way: where the stored bytes are not what was received, the answer ends short of its length."""
    with state.database.read() as session:
        require_record(session, analyses.require_evidence(session, analysis_id))  # else these were not received
    with state.database.write() as session:
        record = analyses.require_evidence(session, analysis_id)
        with state.metrics.watching_evidence():
            blocks = state.store.read(record.sha256)  # 500 now, rather than a broken answer later
        audit.append(session, EventType.EVIDENCE_READ, actor=user.name, analysis_id=analysis_id, details={})

    def altered(actual_sha256: str) -> None:
        state.metrics.evidence_problems.labels("altered").inc()
        log.error(
            "evidence_altered", analysis_id=str(analysis_id), sha256=record.sha256, actual_sha256=actual_sha256
        )
        found = {"sha256": record.sha256, "actual_sha256": actual_sha256}
        with state.database.write() as session:
            audit.append(
                session, EventType.EVIDENCE_ALTERED, actor=user.name, analysis_id=analysis_id, details=found
            )

    digest = base64.b64encode(bytes.fromhex(record.sha256)).decode()
    return StreamingResponse(
        checked(blocks, record.sha256, record.size_bytes, altered),
        media_type="application/octet-stream",
        headers={
            "Content-Length": str(record.size_bytes),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(record.filename, safe='')}",
            "Repr-Digest": f"sha-256=:{digest}:",
        },
    )
