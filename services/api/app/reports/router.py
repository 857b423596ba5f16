"""The forensic report."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header
from fastapi.responses import JSONResponse

from app.analysis import service as analyses
from app.audit import repository as audit
from app.audit.models import EventType
from app.errors import EvidenceMissingError, NotAcceptableError
from app.identity.permissions import Action, allow
from app.identity.user import User
from app.orm import utc_now
from app.problems import documented
from app.reports import service
from app.runs import repository as runs
from app.state import ServiceState, service_state
from earwitness.report import REPORT_VERSION, report_schema

JSON_TYPES = frozenset({"application/json", "application/*", "*/*"})

router = APIRouter(prefix="/v1/analysis/{analysis_id:uuid}", tags=["reports"])


@router.get(
    "/report",
    summary="The forensic report",
    response_class=JSONResponse,
    responses={
        200: {
            "description": f"Report version {REPORT_VERSION}",
            "content": {"application/json": {"schema": report_schema()}},
        },
        **documented(400, 401, 403, 404, 406, 409, 422, 503),
    },
)
def get_report(
    analysis_id: uuid.UUID,
    state: Annotated[ServiceState, Depends(service_state)],
    user: Annotated[User, Depends(allow(Action.READ_REPORT))],
    accept: Annotated[str, Header()] = "*/*",
) -> Any:
    """On the newest run. Its JSON Schema is part of this document; `report_version` says which one it follows.

    Issuing a report is an access to the case, so the audit trail notes it, before the report lists the trail.
    """
    if not JSON_TYPES & {part.split(";")[0].strip().lower() for part in accept.split(",")}:
        raise NotAcceptableError("reports are issued as application/json")
    with state.database.write() as session:
        record = analyses.require(session, analysis_id)
        service.require_ended(record)
        run = runs.get(session, record.run_id) if record.run_id else None
        if run is None:
            raise EvidenceMissingError("the newest run of this analysis is not in the database")
        details = {"run_id": str(run.id), "report_version": REPORT_VERSION}
        audit.append(session, EventType.REPORT_ISSUED, actor=user.name, analysis_id=analysis_id, details=details)
        report = service.report(
            record,
            run,
            audit.of_analysis(session, analysis_id),
            policy=state.action_policy,
            generated_at=utc_now(),
        )
    return JSONResponse(report)
