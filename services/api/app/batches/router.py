"""Making batches, watching them, and their results."""

import re
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError

from app.analysis.schemas import MAX_OFFSET
from app.batches import imports, repository, results, service
from app.batches.models import Batch
from app.batches.results import EXTENSIONS, Format
from app.batches.schemas import MAX_BODY_BYTES, BatchPage, BatchRequest, BatchView
from app.errors import UploadTooLargeError
from app.identity.permissions import Action, allow
from app.identity.user import User
from app.problems import documented
from app.state import ServiceState, State

DEFAULT_BATCHES = 20
MAX_BATCHES = 200
JSON_TYPE = re.compile(r"application/([^;]+\+)?json\s*(;|$)", re.IGNORECASE)
"""What the framework takes for JSON, of the routes whose bodies it reads."""
BINARY = {"schema": {"type": "string", "format": "binary"}}
TEXT = {"schema": {"type": "string"}}

router = APIRouter(prefix="/v1/batches", tags=["batches"])


@router.post(
    "",
    status_code=202,
    summary="Have many recordings examined",
    response_model=BatchView,
    responses=documented(400, 401, 403, 413, 422, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": BatchRequest.model_json_schema()}},
        }
    },
)
async def create_batch(
    request: Request,
    response: Response,
    state: State,
    user: Annotated[User, Depends(allow(Action.BATCH))],
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            pattern="^[!-~]+$",
            description="The same key with the same request gives the same batch, once made.",
        ),
    ] = None,
) -> Any:
    """Analyses that were uploaded, or recordings in the operator's import folder, which are taken in one by one.

    Their runs go through the queue of all runs with the lowest priority, a few at a time. What is wrong with one item
    costs that item.
    """
    wanted = await _body(request)
    batch, replayed = await run_in_threadpool(_create, state, user, wanted, idempotency_key)
    response.headers["Location"] = f"/v1/batches/{batch.id}"
    if replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return batch


@router.get(
    "", summary="Batches, newest first", response_model=BatchPage, responses=documented(400, 401, 403, 422, 503)
)
def list_batches(
    state: State,
    _user: Annotated[User, Depends(allow(Action.READ_BATCHES))],
    limit: Annotated[int, Query(ge=1, le=MAX_BATCHES)] = DEFAULT_BATCHES,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
) -> Any:
    with state.database.read() as session:
        items, total = repository.page(session, limit=limit, offset=offset)
    return {"items": items, "total": total, "limit": limit, "offset": offset}


@router.get(
    "/{batch_id:uuid}",
    summary="How far it is",
    response_model=BatchView,
    responses=documented(400, 401, 403, 404, 422, 503),
)
def get_batch(
    batch_id: uuid.UUID,
    state: State,
    _user: Annotated[User, Depends(allow(Action.READ_BATCHES))],
) -> Any:
    with state.database.read() as session:
        return service.require(session, batch_id)


@router.post(
    "/{batch_id:uuid}/cancel",
    summary="Begin nothing more of it",
    response_model=BatchView,
    responses=documented(400, 401, 403, 404, 422, 503),
)
def cancel_batch(
    batch_id: uuid.UUID,
    state: State,
    user: Annotated[User, Depends(allow(Action.BATCH))],
) -> Any:
    """What is in the queue already ends; findings stay. A batch that has ended stays as it is."""
    with state.database.write() as session:
        return service.cancel(session, user, batch_id)


@router.get(
    "/{batch_id:uuid}/results",
    summary="A row for each item",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "As JSON lines, CSV or Parquet, by `Accept`; of what has not ended, its state",
            "content": {Format.LINES.value: TEXT, Format.CSV.value: TEXT, Format.PARQUET.value: BINARY},
        },
        **documented(400, 401, 403, 404, 406, 422, 503),
    },
)
def get_results(
    batch_id: uuid.UUID,
    state: State,
    _user: Annotated[User, Depends(allow(Action.READ_BATCHES))],
    accept: Annotated[str, Header()] = "*/*",
) -> StreamingResponse:
    form = results.negotiated(accept)
    with state.database.read() as session:
        batch = service.require(session, batch_id)
    name = f"batch-{batch_id}.{EXTENSIONS[form]}"
    headers = {"Vary": "Accept", "Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(results.written(state.database, batch, form), media_type=form.value, headers=headers)


def _create(state: ServiceState, user: User, wanted: BatchRequest, key: str | None) -> tuple[Batch, bool]:
    if wanted.import_path is not None:
        imports.place(state.settings.import_dir, wanted.import_path)  # a wrong path is told now
    state.models.chosen(wanted.model_version)
    try:
        made = _created(state, user, wanted, key)
    except IntegrityError:
        if key is None:
            raise
        # Two equal requests at the same time: the other one has just won, so this one finds its batch.
        made = _created(state, user, wanted, key)
    state.wake_batches()
    return made


def _created(state: ServiceState, user: User, wanted: BatchRequest, key: str | None) -> tuple[Batch, bool]:
    with state.database.write() as session:
        return service.create(session, user, wanted, key)


async def _body(request: Request) -> BatchRequest:
    """Read up to a limit and no further; the framework would hold whatever came."""
    if not JSON_TYPE.match(request.headers.get("content-type", "")):  # what a form of any web site may send
        raise RequestValidationError([{"loc": ("body",), "msg": "must have the Content-Type application/json"}])
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise UploadTooLargeError(f"a batch is described in at most {MAX_BODY_BYTES} bytes: make several")
    try:
        return BatchRequest.model_validate_json(bytes(body))
    except ValidationError as error:
        raise RequestValidationError(
            [{"loc": ("body", *e["loc"]), "msg": e["msg"]} for e in error.errors(include_input=False)]
        ) from error
