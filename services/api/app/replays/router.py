"""Repeating runs, and the replays that were."""

import uuid
from functools import partial
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Query

from app.analysis import service as analyses
from app.analysis.schemas import MAX_OFFSET
from app.identity.permissions import Action, allow
from app.identity.user import User
from app.problems import documented
from app.replays import repository, service
from app.replays.schemas import ReplayList, ReplayView
from app.state import State

DEFAULT_REPLAYS = 20
MAX_REPLAYS = 50

router = APIRouter(prefix="/v1/analysis/{analysis_id:uuid}", tags=["replays"])


@router.post(
    "/replay",
    summary="Repeat a run and compare",
    response_model=ReplayView,
    responses=documented(400, 401, 403, 404, 409, 410, 422, 500, 503),
)
async def replay(
    analysis_id: uuid.UUID,
    state: State,
    user: Annotated[User, Depends(allow(Action.REPLAY))],
    run_id: Annotated[
        uuid.UUID | None, Query(description="Which run; the newest one where none is named.")
    ] = None,
) -> Any:
    """The stored bytes are examined again with the model of that run, and the finding is compared field by field.

    On the same machine nothing may differ. The record goes on to show its newest run; the replay is kept beside the
    runs and is an audit event. 409 where that model is no longer on the shelf,
    410 where the evidence was erased.
    """
    repeat = partial(service.replay, state, user, analysis_id, run_id)
    return await to_thread.run_sync(repeat, limiter=state.report_limiter)


@router.get(
    "/replays",
    summary="Every replay, newest first",
    response_model=ReplayList,
    responses=documented(400, 401, 403, 404, 422, 503),
)
def list_replays(
    analysis_id: uuid.UUID,
    state: State,
    _user: Annotated[User, Depends(allow(Action.READ_RUNS))],
    limit: Annotated[int, Query(ge=1, le=MAX_REPLAYS)] = DEFAULT_REPLAYS,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
) -> Any:
    with state.database.read() as session:
        analyses.require(session, analysis_id)
        items = repository.of_analysis(session, analysis_id, limit=limit, offset=offset)
    return {"items": items, "limit": limit, "offset": offset}
