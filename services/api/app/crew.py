"""Those who carry out runs in this process, and the ways in which runs reach them.

crew = Crew(settings, database, store=store, models=models, policy=policy, metrics=metrics)
queue = crew.local_queue()        # SQLite: runs of this process's own requests
worker = crew.job_worker()        # PostgreSQL: runs of everybody's, through the queue in the database
"""

from app.database import Database
from app.detectors.registry import ModelRegistry
from app.evidence.store import EvidenceStore
from app.jobs.worker import JobWorker, WorkerOptions
from app.metrics import Metrics
from app.runs.queue import LocalQueue
from app.runs.service import Runner
from app.runs.workers import WorkerPool
from app.settings import Settings
from earwitness.actions import ActionPolicy


class Crew:
    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        store: EvidenceStore,
        models: ModelRegistry,
        policy: ActionPolicy,
        metrics: Metrics,
    ) -> None:
        """Starts nothing. With 0 workers there is nobody: no pool, and neither a queue nor a worker to be had."""
        self.settings = settings
        self.database = database
        self.store = store
        self.pool: WorkerPool | None = None
        if settings.workers:
            order = models.active.order
            self.pool = WorkerPool(
                order,
                workers=settings.workers,
                memory_bytes=settings.worker_memory_bytes,
                readable=(store.local_folder, models.source.folder.resolve()),
            )
            self.runner = Runner(
                database=database,
                store=store,
                workers=self.pool,
                models=models,
                policy=policy,
                metrics=metrics,
                run_timeout=settings.run_timeout,
                max_attempts=settings.run_attempts,
            )

    def local_queue(self) -> LocalQueue:
        assert self.pool is not None
        pool, runner = self.pool, self.runner

        def interrupt() -> None:
            runner.stop_waiting()
            pool.close()

        return LocalQueue(
            runner.perform,
            interrupt,
            workers=self.settings.workers,
            max_waiting=self.settings.max_queued_runs,
            grace=self.settings.shutdown_grace,
        )

    def job_worker(self) -> JobWorker:
        """Not started yet."""
        assert self.pool is not None
        options = WorkerOptions(
            concurrency=self.settings.workers,
            heartbeat=self.settings.worker_heartbeat,
            lost_after=self.settings.worker_lost_after,
            grace=self.settings.shutdown_grace,
        )
        return JobWorker(self.database, self.runner.perform, self.pool.close, options, self.store.check_room)
