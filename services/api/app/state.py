"""What an app holds while it runs, typed; made by `app.application`, read by dependencies."""

from concurrent.futures import Future
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from app.database import Database
from app.detectors.source import DetectorDescription
from app.evidence.store import EvidenceStore
from app.identity.authenticators import Authenticator
from app.metrics import Metrics
from app.runs.queue import JobQueue
from app.runs.workers import WorkerPool
from app.settings import Settings
from earwitness.actions import ActionPolicy


@dataclass(frozen=True, slots=True)
class ServiceState:
    settings: Settings
    database: Database
    store: EvidenceStore
    authenticator: Authenticator
    metrics: Metrics
    detector: DetectorDescription
    action_policy: ActionPolicy
    prober: WorkerPool
    """Looks at uploads."""
    queue: JobQueue
    detector_loaded: Future[str | None]
    """Ends when the first worker has loaded the detector, or failed to."""


def service_state(connection: HTTPConnection) -> ServiceState:
    state = connection.app.state.service
    assert isinstance(state, ServiceState)
    return state
