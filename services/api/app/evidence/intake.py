"""From a request's body to a complete, hashed, looked-at file in the store's temporary place.

Bounded memory: one block is written while the next one arrives, and nothing else is held. A client that goes away,
a body beyond a limit, a full disk: each ends in an exception here, and the store's context removes the file.

What a recording is, its content decides. That look decodes untrusted bytes, so it is done by a worker process with
little time and bounded memory, not here by comparing magic numbers, which a decoder need not agree with.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from anyio import CapacityLimiter, to_thread
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from app.errors import AppError, UnsupportedMediaError, UploadStalledError, UploadTooLargeError
from app.evidence.multipart import FORM_OVERHEAD_BYTES, UploadForm, boundary_of
from app.evidence.store import Incoming
from app.runs import worker
from app.runs.workers import WorkerPool
from earwitness.errors import RunTimeoutError, UnreadableMediaError, WorkerCrashError
from earwitness.finding import MediaInfo

WRITE_BLOCK_BYTES = 1 << 20
LINGER_BYTES = 8 << 20
LINGER_S = 2.0


@dataclass(frozen=True, slots=True)
class ReceivedForm:
    filename: str
    fields: dict[str, str | None]


async def receive_form(
    request: Request, incoming: Incoming, max_file_bytes: int, idle_timeout_s: float
) -> ReceivedForm:
    """Write the form's file into `incoming` as it arrives.

    Raises the errors of `app.evidence.multipart`, StorageFullError, UploadStalledError after `idle_timeout_s` without
    a byte, ClientDisconnect where the client went away.
    """
    form = UploadForm(boundary_of(request.headers.get("content-type")), max_file_bytes=max_file_bytes)
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_file_bytes + FORM_OVERHEAD_BYTES:
        raise UploadTooLargeError(f"the recording is larger than {max_file_bytes} bytes")
    body = _without_stalling(request.stream(), idle_timeout_s)
    try:
        await _write_as_it_arrives(body, form, incoming, max_file_bytes + FORM_OVERHEAD_BYTES)
        filename = form.finish()
    except AppError:
        await linger(body)
        raise
    return ReceivedForm(filename, form.fields)


async def _without_stalling(body: AsyncIterator[bytes], idle_timeout_s: float) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(idle_timeout_s):
                chunk = await anext(body)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise UploadStalledError(
                f"nothing came for {idle_timeout_s:g} s, so the upload was given up: send it again"
            ) from error
        yield chunk


async def _write_as_it_arrives(
    body: AsyncIterator[bytes], form: UploadForm, incoming: Incoming, max_body_bytes: int
) -> None:
    writing: asyncio.Task[None] | None = None
    received = 0
    try:
        async for chunk in body:
            received += len(chunk)
            if received > max_body_bytes:
                raise UploadTooLargeError(f"the request is larger than {max_body_bytes} bytes")
            form.feed(chunk)
            if form.buffered >= WRITE_BLOCK_BYTES:
                if writing is not None:
                    await writing
                writing = asyncio.create_task(run_in_threadpool(incoming.write, form.take()))
    finally:
        if writing is not None:  # the file must not be closed under the writing thread
            await asyncio.wait([writing])
    if writing is not None:
        writing.result()
    await run_in_threadpool(incoming.write, form.take())


async def linger(body: AsyncIterator[bytes]) -> None:
    """Read a little further and drop it, so that a client that is still sending gets to see the refusal.

    Closing at once would reset the connection, and the answer would be lost with it.
    """
    end = time.monotonic() + LINGER_S
    dropped = 0
    try:
        async with asyncio.timeout(LINGER_S):
            async for chunk in body:
                dropped += len(chunk)
                if dropped > LINGER_BYTES or time.monotonic() > end:
                    return
    except (
        TimeoutError,
        UploadStalledError,
        ClientDisconnect,
        RuntimeError,
    ):  # RuntimeError: it was read to its end
        return


async def look_at(
    prober: WorkerPool, limiter: CapacityLimiter, incoming: Incoming, label: str, timeout_s: float
) -> MediaInfo:
    """`looked_at`, without holding up the other requests."""
    return await to_thread.run_sync(looked_at, prober, incoming, label, timeout_s, limiter=limiter)


def looked_at(prober: WorkerPool, incoming: Incoming, label: str, timeout_s: float) -> MediaInfo:
    """What the container holds. Raises UnsupportedMediaError where it can't be decoded, else library errors."""
    try:
        return prober.call(worker.look, incoming.path, label, timeout_s, timeout_s=timeout_s)
    except UnreadableMediaError as error:
        raise UnsupportedMediaError(str(error)) from error
    except (RunTimeoutError, WorkerCrashError) as error:
        raise UnsupportedMediaError(
            "the recording's container took too much time or memory to read; convert a copy and send that"
        ) from error
