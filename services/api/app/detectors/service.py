"""Changing to what lies on the shelf now, without dropping a run."""

from functools import partial

import structlog

from app.audit import repository as audit
from app.audit.models import EventType
from app.detectors.registry import Model, without_folder
from app.errors import AppError, ModelRefusedError
from app.runs import worker
from app.runs.workers import LOADING_LIMIT_S
from app.state import ServiceState
from earwitness.errors import EarwitnessError

log = structlog.get_logger(__name__)


def reload(state: ServiceState, actor: str) -> Model:
    """Take stock anew; the model that is active from now on. Runs under way keep theirs.

    A worker loads the new model before it counts. Raises ModelRefusedError where it can't be used or loaded: the
    service goes on with what it had.
    """
    try:
        before, now = state.models.reload(partial(_try_out, state))
    except (EarwitnessError, AppError) as error:
        active = state.models.active.description.model_version
        log.error("models_refused", code=error.code, problem=str(error), active=active, actor=actor)
        told = without_folder(error, state.models.source)
        raise ModelRefusedError(f"{told}; the service goes on with {active}") from error
    with state.database.write() as session:
        audit.append(
            session,
            EventType.MODELS_RELOADED,
            actor=actor,
            analysis_id=None,
            details={
                "before": before.description.model_version,
                "before_sha256": before.description.model_sha256,
                "active": now.description.model_version,
                "active_sha256": now.description.model_sha256,
                "active_spec_sha256": now.description.spec_sha256,
            },
        )
    log.info(
        "models_reloaded",
        before=before.description.model_version,
        active=now.description.model_version,
        actor=actor,
    )
    return now


def _try_out(state: ServiceState, model: Model) -> None:
    state.examiners.call(worker.ready, model.order, timeout_s=LOADING_LIMIT_S)
