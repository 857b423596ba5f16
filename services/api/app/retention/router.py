"""Erasing evidence on request, and holding it."""

import uuid
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Query

from app.analysis import service as analyses
from app.analysis.schemas import AnalysisView
from app.errors import AppError
from app.identity.permissions import Action, allow
from app.identity.user import User
from app.problems import documented
from app.retention import service
from app.retention.schemas import HoldOrder, Reason
from app.state import State

router = APIRouter(prefix="/v1/analysis/{analysis_id:uuid}", tags=["retention"])

log = structlog.get_logger(__name__)


@router.delete(
    "/evidence",
    summary="Erase the evidence; the record and its hash stay",
    response_model=AnalysisView,
    responses=documented(400, 401, 403, 404, 409, 410, 422, 503),
)
def erase_evidence(
    analysis_id: uuid.UUID,
    state: State,
    user: Annotated[User, Depends(allow(Action.ERASE_EVIDENCE))],
    reason: Annotated[Reason, Query()],
) -> Any:
    """It can't be undone. Runs, replays and the evidence itself are answered 410 from then on; reports stay.

    `removed_at` tells when the bytes left the store: at once, or once no other analysis holds the same ones.
    """
    with state.database.write() as session:
        record = service.erase(session, user.name, analysis_id, reason)
    try:
        service.remove_bytes(state.database, state.store, record.sha256)
    except (OSError, AppError) as error:  # the erasure stands; the next sweep removes the bytes
        log.error("evidence_not_removed", sha256=record.sha256, error=str(error))
    with state.database.read() as session:
        return analyses.require(session, analysis_id)


@router.put(
    "/hold",
    summary="Place or release a hold",
    response_model=AnalysisView,
    responses=documented(400, 401, 403, 404, 410, 413, 422, 503),
)
def put_hold(
    analysis_id: uuid.UUID,
    order: HoldOrder,
    state: State,
    user: Annotated[User, Depends(allow(Action.HOLD_EVIDENCE))],
) -> Any:
    """While it is held, neither an administrator nor the retention period erases the evidence."""
    with state.database.write() as session:
        return service.set_hold(session, user.name, analysis_id, held=order.held, reason=order.reason)
