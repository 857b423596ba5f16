"""Everything that has to be started and stopped, in the order in which it depends on each other.

Each part registers how it is stopped as soon as it stands, so a start that fails half way leaves nothing running.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import structlog

from app.analysis import repository as records
from app.batches.feeder import BatchFeeder
from app.crew import Crew
from app.database import Database, DatabaseUnusableError
from app.detectors.following import Follower
from app.detectors.registry import ModelRegistry
from app.detectors.service import Reloader
from app.evidence import marking
from app.evidence.opening import open_store
from app.evidence.store import EvidenceStore, FolderStore
from app.identity.authenticators import Authenticator
from app.jobs.operations import Operations, listening
from app.jobs.queue import PostgresQueue
from app.metrics import Metrics
from app.migration import migrate
from app.orm import utc_now
from app.periodic import Periodic
from app.quotas.service import Quotas
from app.reports.second_looks import SecondLooks
from app.retention import service as retention
from app.runs import service as runs
from app.runs import worker
from app.runs.queue import JobQueue, LocalQueue, Priority
from app.runs.workers import LOADING_LIMIT_S, WorkerPool
from app.settings import Settings
from app.state import ServiceState
from app.webhooks import repository as webhooks
from app.webhooks.deliverer import POLL, Deliverer
from app.webhooks.service import DELIVERIES_KEPT
from earwitness.actions import find_action_policy

NOT_THE_OWNER = 0o077
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

    Raises BlockingIOError where another service owns the evidence folder, NoStoreError where it is not this database's.
    """
    store = open_store(settings, owner=True)  # first: a folder's lock keeps a second service from everything below
    stack.callback(store.close)
    database = Database(settings.database_url)
    stack.callback(database.close)
    migrate(database)
    if isinstance(store, FolderStore):
        marking.settle(database, store)
    _warn_of_what_others_can_read(settings, database)
    policy = find_action_policy(settings.action_policy)
    order = models.active.order
    prober = WorkerPool(None, workers=1, memory_bytes=PROBE_MEMORY_BYTES, readable=(store.local_folder,))
    stack.callback(prober.close)
    readable = (store.local_folder, models.source.folder.resolve())
    reporter = WorkerPool(order, workers=1, memory_bytes=settings.worker_memory_bytes, readable=readable)
    stack.callback(reporter.close)  # its process starts with the first full report
    following = stack.enter_context(ExitStack())  # stopped after the workers, whom a reload may be waiting for
    if isinstance(store, FolderStore):  # an object store is others' too, who may be in the middle of an upload
        _tidy_up(database, store)
    crew = Crew(settings, database, store=store, models=models, policy=policy, metrics=metrics)
    queue: JobQueue = _local_queue(crew) if database.is_sqlite else _shared_queue(crew)
    stack.callback(queue.close)
    examiners = crew.pool or reporter
    reloader = Reloader(models, examiners, database, metrics)
    if not database.is_sqlite:
        _follow(following, reloader, settings)
    sweeps = Periodic(
        "retention",
        settings.sweep_interval,
        lambda stopping: _sweep(database, store, settings, stopping),
    )
    stack.callback(sweeps.close)
    deliverer = Deliverer(database, settings.webhook_networks, metrics)
    stack.callback(deliverer.close)
    stack.callback(Periodic("webhooks", POLL, lambda _stopping: deliverer.tick()).close)
    loader = ThreadPoolExecutor(2, thread_name_prefix="load")
    loader.submit(prober.call, worker.ready, None, timeout_s=LOADING_LIMIT_S)  # nobody waits for the first of them
    loader.submit(reloader.load)
    loader.shutdown(wait=False)
    feeder = BatchFeeder()
    state = ServiceState(
        settings=settings,
        database=database,
        store=store,
        authenticator=authenticator,
        metrics=metrics,
        quotas=Quotas(settings),
        models=models,
        reloader=reloader,
        action_policy=policy,
        second_looks=SecondLooks(reporter, store, settings.run_timeout),
        prober=prober,
        examiners=examiners,
        reporter=reporter,
        queue=queue,
        wake_batches=feeder.wake,
    )
    stack.callback(feeder.close)  # before the queue that it feeds
    feeder.start(state)
    return state


def _sweep(database: Database, store: EvidenceStore, settings: Settings, stopping: Callable[[], bool]) -> None:
    now = utc_now()
    retention.sweep(database, store, settings.evidence_retention, now, stopping=stopping)
    with database.write() as session:
        webhooks.forget(session, now - DELIVERIES_KEPT)


@dataclass(frozen=True, slots=True)
class StartedWorker:
    reloader: Reloader
    url: str | None
    """Where it answers /health, /ready and /metrics; None where nobody wants that."""


def start_worker(
    stack: ExitStack, settings: Settings, *, models: ModelRegistry, metrics: Metrics
) -> StartedWorker:
    """As `start`, of a process that only carries out runs; a service may work with the same evidence folder.

    Raises DatabaseUnusableError where the database is no PostgreSQL, NoStoreError where the folder is another's.
    """
    database = Database(settings.database_url)
    stack.callback(database.close)
    if database.is_sqlite:
        raise DatabaseUnusableError(
            "workers take their runs from PostgreSQL: name it in EARWITNESS_DATABASE_URL. With SQLite the service does "
            "its runs itself"
        )
    if not settings.workers:
        raise DatabaseUnusableError(
            "EARWITNESS_WORKERS=0 leaves a worker nothing to do: say how many runs at a time"
        )
    store = open_store(settings, owner=False)
    stack.callback(store.close)
    policy = find_action_policy(settings.action_policy)
    crew = Crew(settings, database, store=store, models=models, policy=policy, metrics=metrics)
    assert crew.pool is not None
    following = stack.enter_context(ExitStack())  # stopped after the workers, whom a reload may be waiting for
    job_worker = crew.job_worker()
    loaded = threading.Event()
    url = None
    if settings.worker_port is not None:  # from now on it tells, and to the end of its grace
        operations = Operations(database, store, job_worker, metrics, loaded)
        url = stack.enter_context(listening(settings.worker_host, settings.worker_port, operations))
    migrate(database)
    marking.expect(database, store)
    stack.callback(crew.pool.close)
    crew.pool.call(worker.ready, models.active.order, timeout_s=LOADING_LIMIT_S)  # a bad model is told at once
    loaded.set()
    reloader = Reloader(models, crew.pool, database, metrics)
    _follow(following, reloader, settings)
    job_worker.start()
    stack.callback(job_worker.close)
    return StartedWorker(reloader, url)


def _follow(stack: ExitStack, reloader: Reloader, settings: Settings) -> None:
    follower = Follower(reloader)
    periodic = Periodic("models", settings.worker_heartbeat, lambda _stopping: follower.look())
    stack.callback(periodic.close)


def _local_queue(crew: Crew) -> LocalQueue:
    """With the runs that waited when the last process ended; those that it was at are given up."""
    if crew.pool is None:
        raise DatabaseUnusableError(
            "EARWITNESS_WORKERS=0 leaves the runs to other processes, which needs PostgreSQL in EARWITNESS_DATABASE_URL"
        )
    queue = crew.local_queue()
    with crew.database.write() as session:
        waiting = runs.recover(session)
    for analysis_id, run_id in waiting:
        queue.submit(analysis_id, run_id, Priority.ASYNC)
    if waiting:
        log.info("queued_again", runs=len(waiting))
    return queue


def _shared_queue(crew: Crew) -> PostgresQueue:
    """What waits or is under way is its workers' business, this process's own, where it has some, included."""
    job_worker = crew.job_worker() if crew.pool is not None else None
    if job_worker is not None:
        job_worker.start()
    return PostgresQueue(
        crew.database,
        max_waiting=crew.settings.max_queued_runs,
        lost_after_s=crew.settings.worker_lost_after.total_seconds(),
        worker=job_worker,
    )


def _warn_of_what_others_can_read(settings: Settings, database: Database) -> None:
    """Of files that were there before. They stay as they are: an operator may have a backup read them by its group,
    and a database's folder may be anybody's. An object store keeps nothing here.
    """
    kept = [settings.evidence_dir / "blobs"] if settings.evidence_url is None else []
    if database.url.database is not None and database.is_sqlite:
        kept.append(Path(database.url.database))
    wide = [str(path) for path in kept if all(each.stat().st_mode & NOT_THE_OWNER for each in (path, path.parent))]
    if wide:
        log.warning("readable_by_others", paths=wide, advice="unless you meant it: chmod -R go-rwx")


def _tidy_up(database: Database, store: FolderStore) -> None:
    with database.read() as session:
        swept = store.sweep(lambda hashes: records.referenced(session, hashes))
    if swept.set_aside:
        log.warning(
            "unreferenced_evidence_set_aside",
            blobs=swept.set_aside,
            folder="unreferenced",
            advice="few are uploads that a crash cut off; many mean that EARWITNESS_DATABASE_URL names another "
            "database than the one of this evidence: start with that one, and they are taken back",
        )
    log.info(
        "tidied_up", partial_files=swept.partial_files, set_aside=swept.set_aside, taken_back=swept.taken_back
    )
