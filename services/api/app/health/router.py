"""For load balancers, operators and Prometheus; open to everybody, in every mode."""

from contextlib import suppress

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from app.health import service
from app.health.schemas import HealthView, ReadyView, VersionView
from app.state import State
from app.version import git_revision
from earwitness import __version__
from earwitness.reporting.contents import REPORT_VERSION

router = APIRouter(tags=["service"])


@router.get("/health", summary="Does the process live?")
async def health() -> HealthView:
    return HealthView()


@router.get(
    "/ready",
    summary="Can it work?",
    responses={503: {"model": ReadyView, "description": "Something that work needs is missing"}},
)
def ready(response: Response, state: State) -> ReadyView:
    checks = service.checks(state)
    if all(word == service.OK for word in checks.values()):
        return ReadyView(status="ready", checks=checks)
    response.status_code = 503
    return ReadyView(status="not_ready", checks=checks)


@router.get("/version", summary="Which version is it?")
def version(state: State) -> VersionView:
    revision = state.settings.git_revision or git_revision()
    return VersionView(version=__version__, git_revision=revision, report_version=REPORT_VERSION)


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Text format"}},
)
def metrics(state: State) -> Response:
    with suppress(SQLAlchemyError):  # a database that is away must not hide what is known here
        state.metrics.runs_waiting.set(state.queue.depth())
    return Response(generate_latest(state.metrics.registry), media_type=CONTENT_TYPE_LATEST)
