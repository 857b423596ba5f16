"""Everything that has to be started and stopped, in the order in which it depends on each other.

Each part registers how it is stopped as soon as it stands, so a start that fails half way leaves nothing running.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import structlog

from app.analysis import repository as records
from app.database import Database
from app.detectors.registry import ModelRegistry
from app.evidence.store import EvidenceStore, FolderStore
from app.identity.authenticators import Authenticator
from app.metrics import Metrics
from app.migration import migrate
from app.orm import utc_now
from app.periodic import Periodic
from app.quotas.service import Quotas
from app.reports.second_looks import SecondLooks
from app.retention import service as retention
from app.runs import service as runs
from app.runs import worker
from app.runs.queue import LocalQueue
from app.runs.workers import LOADING_LIMIT_S, WorkerPool
from app.settings import Settings
from app.state import ServiceState
from app.webhooks import repository as webhooks
from app.webhooks.deliverer import POLL, Deliverer
from app.webhooks.service import DELIVERIES_KEPT
from earwitness.actions import find_action_policy

PROBE_MEMORY_BYTES = 2 << 30  # address space; a container's headers need a fraction of it

log = structlog.get_logger(__name__)


def start(
    stack: ExitStack,
    settings: Settings,
    *,
    models: ModelRegistry,
    authenticator: Authenticator,
    metrics: Metrics,
) -> ServiceState:
    """Open, migrate, tidy up after the last process, and begin to work. Closing `stack` stops it all again.

    Raises BlockingIOError where another service owns the evidence folder.
    """
    store = FolderStore(settings.evidence_dir)  # first: its lock keeps a second service from everything below
    stack.callback(store.close)
    database = Database(settings.database_url)
    stack.callback(database.close)
    migrate(database)
    policy = find_action_policy(settings.action_policy)
    order = models.active.order
    workers = WorkerPool(order, workers=settings.workers, memory_bytes=settings.worker_memory_bytes)
    prober = WorkerPool(None, workers=1, memory_bytes=PROBE_MEMORY_BYTES)
    stack.callback(prober.close)
    reporter = WorkerPool(order, workers=1, memory_bytes=settings.worker_memory_bytes)
    stack.callback(reporter.close)  # its process starts with the first full report
    runner = runs.Runner(
        database=database,
        store=store,
        workers=workers,
        models=models,
        policy=policy,
        metrics=metrics,
        run_timeout=settings.run_timeout,
    )
    queue = LocalQueue(
        runner.perform,
        workers.close,
        workers=settings.workers,
        max_waiting=settings.max_queued_runs,
        grace=settings.shutdown_grace,
    )
    stack.callback(queue.close)
    _tidy_up(database, store, queue)
    sweeps = Periodic(
        "retention",
        settings.sweep_interval,
        lambda: _sweep(database, store, settings),
    )
    stack.callback(sweeps.close)
    deliverer = Deliverer(database, settings.webhook_networks, metrics)
    stack.callback(deliverer.close)
    stack.callback(Periodic("webhooks", POLL, deliverer.tick).close)
    loader = ThreadPoolExecutor(2, thread_name_prefix="load")
    loader.submit(prober.call, worker.ready, None, timeout_s=LOADING_LIMIT_S)  # nobody waits for the first of them
    loaded = loader.submit(workers.call, worker.ready, order, timeout_s=LOADING_LIMIT_S)
    loader.shutdown(wait=False)
    return ServiceState(
        settings=settings,
        database=database,
        store=store,
        authenticator=authenticator,
        metrics=metrics,
        quotas=Quotas(settings),
        models=models,
        action_policy=policy,
        second_looks=SecondLooks(reporter, store, settings.run_timeout),
        prober=prober,
        examiners=workers,
        reporter=reporter,
        queue=queue,
        detector_loaded=loaded,
    )


def _sweep(database: Database, store: EvidenceStore, settings: Settings) -> None:
    now = utc_now()
    retention.sweep(database, store, settings.evidence_retention, now)
    with database.write() as session:
        webhooks.forget(session, now - DELIVERIES_KEPT)


def _tidy_up(database: Database, store: FolderStore, queue: LocalQueue) -> None:
    with database.read() as session:
        swept = store.sweep(lambda hashes: records.referenced(session, hashes))
    with database.write() as session:
        waiting = runs.recover(session)
    for analysis_id, run_id in waiting:
        queue.submit(analysis_id, run_id)
    if swept.set_aside:
        log.warning(
            "unreferenced_evidence_set_aside",
            blobs=swept.set_aside,
            folder="unreferenced",
            advice="few are uploads that a crash cut off; many mean that EARWITNESS_DATABASE_URL names another "
            "database than the one of this evidence: start with that one, and they are taken back",
        )
    log.info(
        "tidied_up",
        partial_files=swept.partial_files,
        set_aside=swept.set_aside,
        taken_back=swept.taken_back,
        queued_again=len(waiting),
    )
