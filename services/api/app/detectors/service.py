"""Changing to what lies on the shelf now, without dropping a run."""

import structlog

from app.audit import repository as audit
from app.audit.models import EventType
from app.database import Database
from app.detectors.registry import Model, ModelRegistry, without_folder
from app.errors import AppError, ModelRefusedError
from app.metrics import Metrics
from app.runs import worker
from app.runs.workers import LOADING_LIMIT_S, WorkerPool
from earwitness.errors import EarwitnessError

BY_SIGNAL = "SIGHUP"
"""Who asked, in the audit trail, where the models were reloaded by a signal."""

log = structlog.get_logger(__name__)


class Reloader:
    """Of one process: a service's, or a worker's. Safe to use from several threads."""

    def __init__(self, models: ModelRegistry, examiners: WorkerPool, database: Database, metrics: Metrics) -> None:
        """`examiners` try a new model out."""
        self.models = models
        self._examiners = examiners
        self.database = database
        self._metrics = metrics
        self.loaded = False
        """Whether a worker has ever loaded the active model; then one can again."""
        self.first_load_failed = False
        self._show(models.active)

    def load(self) -> None:
        """Have a worker load the active model before the first run needs it."""
        try:
            self._try_out(self.models.active)
        except (EarwitnessError, AppError) as error:
            self.first_load_failed = True
            log.error("model_not_loaded", code=error.code, problem=str(error))

    def reload(self, actor: str) -> Model:
        """Take stock anew, and have all processes on this database do so; the model that is active from now on.

        Runs under way keep theirs. A worker loads the new model before it counts. Raises ModelRefusedError where it
        can't be used or loaded: the process goes on with what it had, and nobody else is told.
        """
        before, now = self.change(actor)
        log.info("models_reloaded", active=now.description.model_version, actor=actor)
        with self.database.write() as session:
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
        return now

    def change(self, actor: str) -> tuple[Model, Model]:
        """As `reload`, but nobody else hears of it; the active model of before and the one of now."""
        try:
            before, now = self.models.reload(self._try_out)
        except (EarwitnessError, AppError) as error:
            active = self.models.active.description.model_version
            self._metrics.model_changes.labels("refused").inc()
            log.error("models_refused", code=error.code, problem=str(error), active=active, actor=actor)
            told = without_folder(error, self.models.source)
            raise ModelRefusedError(f"{told}; the service goes on with {active}") from error
        if now.order.fingerprint != before.order.fingerprint:
            self._show(now)
            self._metrics.model_changes.labels("done").inc()
            log.info(
                "model_changed",
                before=before.description.model_version,
                active=now.description.model_version,
                actor=actor,
            )
        return before, now

    def _try_out(self, model: Model) -> None:
        self._examiners.call(worker.ready, model.order, timeout_s=LOADING_LIMIT_S)
        self.loaded = True

    def _show(self, model: Model) -> None:
        version, sha256 = model.description.model_version, model.description.model_sha256
        self._metrics.model.info({"model_version": version, "sha256": sha256 or ""})
