"""Putting the service together.

    app = create_app(Settings())                              # the shipped detector
    app = create_app(settings, detector=DummySource())        # a test's

The app starts nothing before its server starts it; `app.startup` says what that is.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import structlog
from fastapi import FastAPI
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from starlette.middleware.cors import CORSMiddleware

from app import openapi, problems
from app.api import ROUTERS
from app.database import DatabaseUnusableError
from app.detectors.registry import ModelRegistry
from app.detectors.source import DetectorSource, OnnxSource
from app.identity.authenticators import Authenticator, DevelopmentHeaders, NoAuthenticator
from app.metrics import Metrics
from app.middleware import REQUEST_ID_HEADER, RequestMiddleware
from app.settings import Mode, Settings
from app.sites import SiteMiddleware, own_hosts
from app.startup import start
from earwitness import __version__
from earwitness.errors import EarwitnessError

START_ERRORS = (OSError, DBAPIError, NoConnectionError, DatabaseUnusableError, EarwitnessError)
"""What the surroundings of a process can be at fault for when it starts; `reason` words them."""

log = structlog.get_logger(__name__)


class CantStartError(Exception):
    """The surroundings don't let the service start; the message says what to do, and no traceback is needed."""


def create_app(
    settings: Settings,
    *,
    detector: DetectorSource | None = None,
    authenticator: Authenticator | None = None,
) -> FastAPI:
    """The app. Raises earwitness.errors.ModelError at once where the model is missing or does not fit."""
    models = ModelRegistry(detector or OnnxSource(settings.model))
    if authenticator is None:
        authenticator = DevelopmentHeaders() if settings.mode is Mode.DEVELOPMENT else NoAuthenticator()
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        stack = ExitStack()
        try:
            try:
                app.state.service = await asyncio.to_thread(
                    start,
                    stack,
                    settings,
                    models=models,
                    authenticator=authenticator,
                    metrics=metrics,
                )
            except START_ERRORS as error:
                raise CantStartError(reason(error)) from error
            log.info("started", model_version=models.active.description.model_version, mode=settings.mode.value)
            yield
        finally:
            await asyncio.to_thread(stack.close)
            log.info("stopped")

    app = FastAPI(
        title="earwitness",
        version=__version__,
        description=openapi.DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        docs_url=None,  # those pages load scripts from elsewhere; /openapi.json is served
        redoc_url=None,
    )
    for router in ROUTERS:
        app.include_router(router)
    problems.install(app, ROUTERS)
    openapi.install(app)
    app.add_middleware(SiteMiddleware, hosts=own_hosts(settings), origins=settings.cors_origins)
    app.add_middleware(RequestMiddleware, metrics=metrics)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["*"],
            expose_headers=[REQUEST_ID_HEADER, "Location", "Link"],
        )
    return app


def reason(error: Exception) -> str:
    """One line; drivers write several."""
    told = str(error)
    if isinstance(error, DBAPIError | NoConnectionError):
        cause = error.orig if isinstance(error, DBAPIError) else error
        told = f"the database can't be used; check EARWITNESS_DATABASE_URL and that its server runs: {cause}"
    return " ".join(told.split())
