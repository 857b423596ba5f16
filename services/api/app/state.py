"""What an app holds while it runs, typed; made by `app.application`, read by dependencies."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from anyio import CapacityLimiter
from fastapi import Depends
from starlette.requests import HTTPConnection

from app.database import Database
from app.detectors.registry import ModelRegistry
from app.detectors.service import Reloader
from app.evidence.store import EvidenceStore
from app.identity.authenticators import Authenticator
from app.metrics import Metrics
from app.quotas.service import Quotas
from app.reports.second_looks import SecondLooks
from app.runs.queue import JobQueue
from app.runs.workers import WorkerPool
from app.settings import Settings
from earwitness.actions import ActionPolicy

LOOKS_AT_ONCE = 2
"""One that the prober is at and one handed over already. More would only wait there, each in a thread of its own."""


@dataclass(frozen=True, slots=True)
class ServiceState:
    settings: Settings
    database: Database
    store: EvidenceStore
    authenticator: Authenticator
    metrics: Metrics
    quotas: Quotas
    models: ModelRegistry
    reloader: Reloader
    action_policy: ActionPolicy
    second_looks: SecondLooks
    """For full reports."""
    prober: WorkerPool
    """Looks at uploads."""
    examiners: WorkerPool
    """Carry out the runs."""
    reporter: WorkerPool
    """Listens again: for full reports and for replays."""
    queue: JobQueue
    wake_batches: Callable[[], None]
    """There is a new batch."""
    report_limiter: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(LOOKS_AT_ONCE))
    """Full reports wait here for their second look, for the same reason as uploads for the prober."""
    look_limiter: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(LOOKS_AT_ONCE))
    """Uploads wait here for the prober: in the thread pool that all endpoints share, they could use up its threads."""


async def service_state(connection: HTTPConnection) -> ServiceState:
    """A dependency; asynchronous because the framework sends any other one through the thread pool."""
    state = connection.app.state.service
    assert isinstance(state, ServiceState)
    return state


State = Annotated[ServiceState, Depends(service_state)]
"""As an endpoint asks for it."""
