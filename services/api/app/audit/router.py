"""The audit trail: one analysis's events, and the check of the whole chain and of the rows that it tells of."""

import uuid
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from app.analysis import service as analyses
from app.audit import repository
from app.audit.chain import check_chain
from app.audit.rows import check_rows
from app.audit.schemas import ChainView, EventList
from app.identity.permissions import Action, allow
from app.identity.user import User
from app.problems import documented
from app.state import State

router = APIRouter(tags=["audit"])


@router.get(
    "/v1/analysis/{analysis_id:uuid}/events",
    summary="The analysis's audit events, oldest first",
    response_model=EventList,
    responses=documented(400, 401, 403, 404, 422, 503),
)
def list_events(
    analysis_id: uuid.UUID,
    state: State,
    _user: Annotated[User, Depends(allow(Action.READ_EVENTS))],
) -> Any:
    with state.database.read() as session:
        analyses.require(session, analysis_id)
        return {"items": repository.of_analysis(session, analysis_id)}


@router.get(
    "/v1/audit/chain",
    summary="Follow the whole audit chain, and compare records and runs with it",
    response_model=ChainView,
    responses=documented(400, 401, 403, 503),
)
def verify_chain(
    state: State,
    _user: Annotated[User, Depends(allow(Action.VERIFY_AUDIT))],
) -> Any:
    """Recomputes every hash, and compares every record and run with its event: it takes time in proportion to them."""
    with state.database.read() as session:
        chain = check_chain(repository.whole_chain(session))
    return asdict(chain) | asdict(check_rows(state.database))
