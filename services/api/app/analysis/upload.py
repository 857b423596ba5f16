"""An upload from its first byte to its acknowledgement: the steps and their order.

Receive and hash; look at the content; then, in one transaction, add the record and publish the bytes. Whatever
fails, the steps before it leave nothing.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from sqlalchemy.exc import IntegrityError
from starlette.requests import Request

from app import tracing
from app.analysis import repository, service
from app.analysis.models import AnalysisRecord
from app.errors import AppError, IdempotencyKeyError
from app.evidence.intake import ReceivedForm, linger, look_at, receive_form
from app.evidence.multipart import FORM_OVERHEAD_BYTES
from app.evidence.store import Incoming, Received
from app.identity.user import User
from app.quotas.models import Kind
from app.state import ServiceState
from earwitness.finding import MediaInfo

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Upload:
    record: AnalysisRecord
    replayed: bool
    """The same request, by its Idempotency-Key, was answered before; this is that answer again."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A complete upload that is not committed yet."""

    incoming: Incoming
    received: Received
    form: ReceivedForm
    media: MediaInfo
    idempotency_key: str | None


async def take_in(request: Request, state: ServiceState, user: User, idempotency_key: str | None) -> Upload:
    """Raises the errors of `app.evidence.intake` and IdempotencyKeyError."""
    if idempotency_key is not None and not IDEMPOTENCY_KEY.fullmatch(idempotency_key):
        raise IdempotencyKeyError("an Idempotency-Key has 1 to 255 visible ASCII characters")
    settings = state.settings
    await _check_quota(request, state, user)
    async with contextmanager_in_threadpool(state.store.receive()) as incoming:
        with tracing.span("receive"):
            form = await receive_form(
                request, incoming, settings.max_upload_bytes, settings.upload_idle_timeout.total_seconds()
            )
            received = await run_in_threadpool(incoming.finish)
        probe_s = settings.probe_timeout.total_seconds()
        with tracing.span("look", size_bytes=received.size_bytes):
            media = await look_at(state.prober, state.look_limiter, incoming, form.filename, probe_s)
        arrival = Arrival(incoming, received, form, media, idempotency_key)
        with tracing.span("commit"):
            upload = await run_in_threadpool(commit, state, user, arrival)
    if not upload.replayed:
        state.metrics.uploads.inc()
        state.metrics.upload_bytes.inc(received.size_bytes)
    return upload


async def _check_quota(request: Request, state: ServiceState, user: User) -> None:
    """Refuse at once what could not be charged at the end. Raises TooManyRequestsError and UploadTooLargeError."""
    if not state.quotas.limits(Kind.UPLOAD_BYTES):
        return
    declared = request.headers.get("content-length", "")
    at_least = max(0, int(declared) - FORM_OVERHEAD_BYTES) if declared.isdigit() else 0
    try:
        await run_in_threadpool(state.quotas.check_room, state.database, user.name, Kind.UPLOAD_BYTES, at_least)
    except AppError:
        await linger(request.stream())
        raise


def commit(state: ServiceState, user: User, arrival: Arrival) -> Upload:
    """Add the record and publish the bytes, once for an idempotency key."""
    try:
        return _commit_once(state, user, arrival)
    except IntegrityError:
        if arrival.idempotency_key is None:
            raise
        # Two equal requests at the same time: the other one has just won, so this one finds its answer.
        return _commit_once(state, user, arrival)


def _commit_once(state: ServiceState, user: User, arrival: Arrival) -> Upload:
    @contextmanager
    def referenced(sha256: str) -> Iterator[bool]:
        with state.database.write() as session:
            repository.lock_evidence(session, sha256)
            yield bool(repository.referenced(session, [sha256]))

    received, form, key = arrival.received, arrival.form, arrival.idempotency_key
    with state.metrics.watching_evidence(), ExitStack() as stack:
        stack.enter_context(state.store.holding(received.sha256, referenced))
        state.store.prepare(arrival.incoming)
        session = stack.enter_context(state.database.write())
        if key is not None:
            fingerprint = service.fingerprint(received, form.filename, form.fields)
            earlier = service.earlier_answer(session, user, key, fingerprint)
            if earlier is not None:
                return Upload(earlier, replayed=True)
        state.quotas.charge(session, user.name, Kind.UPLOAD_BYTES, received.size_bytes)
        repository.lock_evidence(session, received.sha256)
        record = service.register(
            session,
            user=user,
            received=received,
            filename=form.filename,
            fields=form.fields,
            media=arrival.media,
            idempotency_key=key,
        )
        state.store.publish(arrival.incoming)  # before the commit: a row never names bytes that are not there
    return Upload(record, replayed=False)
