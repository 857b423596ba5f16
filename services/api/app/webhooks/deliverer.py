"""Delivers what is due: beside the requests, in each process that serves.

    deliverer = Deliverer(database, networks, metrics)
    Periodic("webhooks", POLL, lambda _stopping: deliverer.tick())

One thread an endpoint at a time, so that one which hangs holds up nobody else. A delivery that a dying process had
taken is taken again after its lease. So a message may come twice, with the same `webhook-id`, and none is lost.
"""

import random
import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import structlog

from app.database import Database
from app.errors import WebhookAddressError
from app.metrics import Metrics
from app.orm import utc_now
from app.webhooks import repository, service
from app.webhooks.addresses import Network, resolve
from app.webhooks.models import DeliveryState, WebhookDelivery, WebhookEndpoint
from app.webhooks.sending import Outcome, post
from app.webhooks.signing import signed_headers
from earwitness import __version__

POLL = timedelta(seconds=1)
ENDPOINTS_AT_ONCE = 16
TIMEOUT_S = 15.0  # Standard Webhooks recommends 15 to 30
LEASE = timedelta(seconds=60)  # longer than an attempt with its look-up of the name can take
GONE = 410
SCHEDULE = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)  # that of Standard Webhooks
)
"""How long after each failed attempt the next one comes; after one more, some three days on, it is given up."""
JITTER = 0.1  # so that what failed together is not tried again together

log = structlog.get_logger(__name__)


class Deliverer:
    def __init__(
        self,
        database: Database,
        allowed: Sequence[Network],
        metrics: Metrics,
        *,
        schedule: Sequence[timedelta] = SCHEDULE,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._database = database
        self._allowed = allowed
        self._metrics = metrics
        self._schedule = schedule
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(ENDPOINTS_AT_ONCE, thread_name_prefix="webhook")
        self._lock = threading.Lock()
        self._busy: set[uuid.UUID] = set()
        self._closing = False

    def tick(self) -> None:
        """Begin with each endpoint that has something to do and that no thread of this process is at."""
        with self._database.read() as session:
            found = repository.with_work(session, utc_now())
        for endpoint_id in found:
            with self._lock:
                if endpoint_id in self._busy or self._closing:
                    continue
                self._busy.add(endpoint_id)
                self._threads.submit(self._work_off, endpoint_id)

    def close(self) -> None:
        """Waits for the attempts that are under way, at most for their time limit."""
        with self._lock:
            self._closing = True
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _work_off(self, endpoint_id: uuid.UUID) -> None:
        try:
            with self._database.write() as session:
                service.make_deliveries(session, endpoint_id)
            while not self._closing and self._deliver_one(endpoint_id):
                pass
        except Exception:  # the next tick tries again; nobody reads this thread's future
            log.exception("webhook_failed", webhook_id=str(endpoint_id))
        finally:
            with self._lock:
                self._busy.discard(endpoint_id)

    def _deliver_one(self, endpoint_id: uuid.UUID) -> bool:
        """False where nothing is due, or where the endpoint failed: then the others of its deliveries wait a tick."""
        now = utc_now()
        with self._database.write() as session:
            endpoint = repository.get(session, endpoint_id)
            if endpoint is None or endpoint.disabled_at is not None:
                return False
            taken = repository.take_due(session, endpoint_id, now, now + LEASE)
        if taken is None:
            return False
        try:
            outcome = self._attempt(endpoint, taken, now)
        except Exception as error:  # a bug, or a secret that was damaged: unsettled, it would be taken for ever
            log.exception("webhook_attempt_failed", webhook_id=str(endpoint_id), delivery_id=str(taken.id))
            outcome = Outcome(None, f"the attempt failed here: {type(error).__name__}; the log says how")
        self._settle(taken, outcome)
        return outcome.delivered

    def _attempt(self, endpoint: WebhookEndpoint, taken: WebhookDelivery, now: datetime) -> Outcome:
        body = taken.body.encode()
        try:
            target = resolve(endpoint.url, self._allowed)
        except WebhookAddressError as error:
            return Outcome(None, str(error))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"earwitness/{__version__}",
            **signed_headers(service.secrets_of(endpoint, now), f"msg_{taken.id.hex}", int(now.timestamp()), body),
        }
        return post(target, headers, body, timeout_s=self._timeout_s)

    def _settle(self, taken: WebhookDelivery, outcome: Outcome) -> None:
        now = utc_now()
        state, next_attempt_at = DeliveryState.PENDING, now
        if outcome.delivered:
            state = DeliveryState.DELIVERED
        elif taken.attempts > len(self._schedule):
            state = DeliveryState.GIVEN_UP
        else:
            pause = self._schedule[taken.attempts - 1] * random.uniform(1, 1 + JITTER)  # noqa: S311  no secret
            next_attempt_at = now + max(pause, timedelta(seconds=outcome.retry_after_s))
        with self._database.write() as session:
            settled = repository.settle(
                session,
                taken,
                state=state,
                next_attempt_at=next_attempt_at,
                status=outcome.status,
                error=outcome.error,
            )
            if settled and outcome.status == GONE:
                state = DeliveryState.GIVEN_UP
                repository.disable(session, taken.endpoint_id, now)
        result = "failed" if state is DeliveryState.PENDING else state.lower()
        self._metrics.webhook_attempts.labels(result).inc()
        if not outcome.delivered:
            log.warning(
                "webhook_not_delivered",
                webhook_id=str(taken.endpoint_id),
                delivery_id=str(taken.id),
                attempt=taken.attempts,
                state=state,
                error=outcome.error,
            )
