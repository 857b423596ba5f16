"""The forensic report."""

import uuid
from functools import partial
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Query, Response

from app.errors import NotAcceptableError
from app.identity.permissions import Action, allow
from app.identity.user import User
from app.problems import documented
from app.reports import service
from app.reports.negotiation import negotiated
from app.state import State
from earwitness.reporting.contents import REPORT_VERSION, report_schema
from earwitness.reporting.forms import Form
from earwitness.reporting.html import content_policy

router = APIRouter(prefix="/v1/analysis/{analysis_id:uuid}", tags=["reports"])

EXTENSIONS = {Form.JSON: "json", Form.PDF: "pdf", Form.HTML: "html"}
BINARY = {"schema": {"type": "string", "format": "binary"}}
TEXT = {"schema": {"type": "string"}}


@router.get(
    "/report",
    summary="The forensic report",
    response_class=Response,
    responses={
        200: {
            "description": f"Report version {REPORT_VERSION}: JSON, PDF/A-3b with the JSON attached, or a page alone",
            "content": {
                Form.JSON.value: {"schema": report_schema()},
                Form.PDF.value: BINARY,
                Form.HTML.value: TEXT,
            },
        },
        **documented(400, 401, 403, 404, 406, 409, 422, 500, 503),
    },
)
async def get_report(
    *,
    analysis_id: uuid.UUID,
    state: State,
    user: Annotated[User, Depends(allow(Action.READ_REPORT))],
    accept: Annotated[str, Header()] = "*/*",
    robustness: Annotated[
        bool,
        Query(
            description="Read the evidence again, for the hash of its decoded sound and the robustness panel. "
            "PDF and HTML always do."
        ),
    ] = False,
    report_version: Annotated[
        int, Query(ge=1, le=REPORT_VERSION, description="1 for readers of the older schema, as JSON only.")
    ] = REPORT_VERSION,
) -> Response:
    """On the newest run, in the form that `Accept` asks for. The JSON Schema is part of this document;
    `report_version` says which one a report follows.
    """
    form = negotiated(accept)
    if report_version < REPORT_VERSION and form is not Form.JSON:
        raise NotAcceptableError(f"version {report_version} of the report is issued as {Form.JSON.value} only")
    order = service.Order(form, report_version, full=form is not Form.JSON or robustness)
    look = None
    if order.full and report_version == REPORT_VERSION:
        wanted = await to_thread.run_sync(service.wanted, state, analysis_id)
        look = await to_thread.run_sync(state.second_looks.of, wanted, limiter=state.report_limiter)
    body = await to_thread.run_sync(partial(service.issue, state, user, analysis_id, order, look))
    headers = {"Vary": "Accept", "X-Content-Type-Options": "nosniff"}
    if form is Form.HTML:
        headers["Content-Security-Policy"] = content_policy()
    name = f"report-{analysis_id}.{EXTENSIONS[form]}"
    headers["Content-Disposition"] = f'{"attachment" if form is Form.PDF else "inline"}; filename="{name}"'
    return Response(body, media_type=form.value, headers=headers)
