"""Upload, record, list."""

import uuid
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from app.analysis import repository, service
from app.analysis.schemas import AnalysisPage, AnalysisView, ListQuery, UploadReceipt
from app.analysis.upload import take_in
from app.evidence.multipart import FILE_FIELD, MAX_FIELD_CHARACTERS
from app.identity.permissions import Action, allow
from app.identity.user import User
from app.problems import documented
from app.state import State

router = APIRouter(prefix="/v1/analysis", tags=["analysis"])

UPLOAD_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FILE_FIELD],
                    "additionalProperties": False,
                    "properties": {
                        FILE_FIELD: {
                            "type": "string",
                            "format": "binary",
                            "description": "The recording: audio, or a video whose sound track is examined.",
                        },
                        **{
                            name: {"type": "string", "maxLength": length}
                            for name, length in MAX_FIELD_CHARACTERS.items()
                        },
                    },
                },
                "encoding": {FILE_FIELD: {"contentType": "audio/*, video/*, application/octet-stream"}},
            }
        },
    }
}


@router.post(
    "/upload",
    status_code=201,
    summary="Take evidence in",
    response_model=UploadReceipt,
    responses=documented(400, 401, 403, 408, 413, 415, 422, 503, 507),
    openapi_extra=UPLOAD_FORM,
)
async def upload(
    request: Request,
    response: Response,
    state: State,
    user: Annotated[User, Depends(allow(Action.UPLOAD))],
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            pattern="^[!-~]+$",
            description="The same key with the same request gives the same answer, once made.",
        ),
    ] = None,
) -> Any:
    """The recording is hashed as it arrives, looked at, and stored unaltered under its SHA-256.

    A 201 means that bytes and record are durable. Anything else leaves nothing behind.
    """
    done = await take_in(request, state, user, idempotency_key)
    response.headers["Location"] = f"/v1/analysis/{done.record.id}"
    if done.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return done.record


@router.get(
    "/{analysis_id:uuid}",  # so that `upload` is no id, and GET on it is 405
    summary="The record",
    response_model=AnalysisView,
    responses=documented(400, 401, 403, 404, 422, 503),
)
def get_record(
    analysis_id: uuid.UUID,
    state: State,
    _user: Annotated[User, Depends(allow(Action.READ_RECORD))],
) -> Any:
    with state.database.read() as session:
        return service.require(session, analysis_id)


@router.get(
    "",
    summary="Records, newest first",
    response_model=AnalysisPage,
    responses=documented(400, 401, 403, 422, 503),
)
def list_records(
    request: Request,
    response: Response,
    state: State,
    _user: Annotated[User, Depends(allow(Action.READ_RECORD))],
    query: Annotated[ListQuery, Query()],
) -> Any:
    """Records that arrive while you page would shift the pages: follow the `Link: rel="next"` header.

    It fixes `created_before`, so that no record is shown twice or skipped.
    """
    chosen = query.chosen()
    with state.database.read() as session:
        if query.offset and chosen.created_before is None:  # what it counts from isn't on this page: fix it first
            newest = repository.newest_time(session, chosen)
            chosen = replace(chosen, created_before=None if newest is None else service.just_after(newest))
        items, total = repository.page(session, chosen, limit=query.limit, offset=query.offset)
    if items and query.offset + len(items) < total:
        fixed = chosen.created_before or service.just_after(items[0].created_at)
        following = request.url.include_query_params(
            offset=query.offset + query.limit, created_before=fixed.isoformat()
        )
        response.headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return {"items": items, "total": total, "limit": query.limit, "offset": query.offset}
