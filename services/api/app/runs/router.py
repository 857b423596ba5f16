"""Running the detector, and the runs that were."""

import asyncio
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.concurrency import run_in_threadpool

from app.analysis import service as analyses
from app.analysis.models import AnalysisRecord, Status
from app.analysis.schemas import MAX_OFFSET, AnalysisView
from app.errors import RunFailedError, RunWaitError
from app.identity.permissions import Action, allow
from app.identity.user import User
from app.problems import documented
from app.runs import repository, service
from app.runs.queue import Priority, PriorityName
from app.runs.schemas import RunList
from app.state import ServiceState, State

RESPOND_ASYNC = "respond-async"
DEFAULT_RUNS = 20
MAX_RUNS = 50  # a run of a three-hour recording lists more than 5,000 windows

router = APIRouter(prefix="/v1/analysis/{analysis_id:uuid}", tags=["runs"])


@router.post(
    "/run",
    summary="Run the detector",
    response_model=AnalysisView,
    responses={
        202: {
            "model": AnalysisView,
            "description": "Accepted (`Prefer: respond-async`); poll the record at `Location`",
        },
        **documented(400, 401, 403, 404, 409, 410, 422, 500, 503, 504),
    },
)
async def run(
    *,
    analysis_id: uuid.UUID,
    response: Response,
    state: State,
    user: Annotated[User, Depends(allow(Action.RUN))],
    prefer: Annotated[str | None, Header(examples=[RESPOND_ASYNC])] = None,
    model_version: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=128,
            description="The model to use, of those that `GET /v1/models` lists; the active one where none is named.",
        ),
    ] = None,
    priority: Annotated[
        PriorityName | None,
        Query(
            description="Interactive runs are begun first, batch ones last. Without it a run that is waited for is "
            "`interactive`, any other `async`."
        ),
    ] = None,
) -> Any:
    """Waits for the outcome unless `Prefer: respond-async` asks not to.

    A run that fails leaves the record FAILED with its code; the answer is a problem with the same code. One run of
    an analysis at a time: a second one is answered 409.
    """
    state.models.chosen(model_version)  # refused now rather than when its turn comes
    wants_async = _wants_async(prefer)
    urgency = priority or (PriorityName.ASYNC if wants_async else PriorityName.INTERACTIVE)
    run_id = await run_in_threadpool(_request, state, user, analysis_id, model_version, urgency.priority)
    if wants_async:
        response.status_code = 202
        response.headers["Location"] = f"/v1/analysis/{analysis_id}"
        response.headers["Preference-Applied"] = RESPOND_ASYNC
        return await run_in_threadpool(_record, state, analysis_id)
    record = await _ended(state, run_id, analysis_id)
    if record is None:
        record = await run_in_threadpool(_record, state, analysis_id)
    if record.status is Status.FAILED and record.run_id == run_id:
        raise RunFailedError(
            record.failure_message or "", failure_code=record.failure_code or "", analysis_id=str(analysis_id)
        )
    return record


@router.get(
    "/runs",
    summary="Every run that ended, newest first",
    response_model=RunList,
    responses=documented(400, 401, 403, 404, 422, 503),
)
def list_runs(
    analysis_id: uuid.UUID,
    state: State,
    _user: Annotated[User, Depends(allow(Action.READ_RUNS))],
    limit: Annotated[int, Query(ge=1, le=MAX_RUNS)] = DEFAULT_RUNS,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
) -> Any:
    with state.database.read() as session:
        analyses.require(session, analysis_id)
        items = repository.of_analysis(session, analysis_id, limit=limit, offset=offset)
    return {"items": items, "limit": limit, "offset": offset}


def _request(
    state: ServiceState, user: User, analysis_id: uuid.UUID, model_version: str | None, priority: Priority
) -> uuid.UUID:
    with state.database.write() as session:
        run_id = service.enter(
            session, state.quotas, state.queue, user, analysis_id, model_version=model_version, priority=priority
        )
    state.queue.submit(analysis_id, run_id, priority)
    return run_id


async def _ended(state: ServiceState, run_id: uuid.UUID, analysis_id: uuid.UUID) -> AnalysisRecord | None:
    """The record, where the queue has it. Raises RunWaitError after the longest time that a request may wait."""
    ended = asyncio.wrap_future(state.queue.outcome(run_id))
    try:
        async with asyncio.timeout(state.settings.run_wait.total_seconds()):
            return await asyncio.shield(ended)  # a client that goes away does not end the run
    except TimeoutError:
        raise RunWaitError(
            f"the run has not ended yet; it goes on: ask for /v1/analysis/{analysis_id}",
            analysis_id=str(analysis_id),
        ) from None


def _record(state: ServiceState, analysis_id: uuid.UUID) -> AnalysisRecord:
    with state.database.read() as session:
        return analyses.require(session, analysis_id)


def _wants_async(prefer: str | None) -> bool:
    """RFC 7240: preferences are separated by commas, parameters follow a semicolon, unknown ones are ignored."""
    return any(part.split(";")[0].strip().lower() == RESPOND_ASYNC for part in (prefer or "").split(","))
