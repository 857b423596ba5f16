"""Uploads whose look takes long hold up each other, and nothing else."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fastapi.testclient import TestClient

from app.state import LOOKS_AT_ONCE

THREADS = 40  # of the pool that all endpoints share, anyio's own number
UPLOADS = THREADS + 5
LIMIT_S = 60.0  # for what should happen at once


def test_other_endpoints_answer_while_more_uploads_wait_than_there_are_threads(
    make_client: Callable[..., TestClient], wav: bytes
) -> None:
    client = make_client()
    state = client.app.state.service  # type: ignore[attr-defined]
    gate = state.store.local_folder / "gate"  # a worker can't reach beyond it
    os.mkfifo(gate)  # whoever reads from it waits until somebody writes
    busy = threading.Thread(target=state.prober.call, args=(Path.read_bytes, gate), kwargs={"timeout_s": LIMIT_S})
    busy.start()  # the one prober has something else to do
    with ThreadPoolExecutor(UPLOADS) as senders:
        uploads = [
            senders.submit(client.post, "/v1/analysis/upload", files={"file": (f"{n}.wav", wav)})
            for n in range(UPLOADS)
        ]
        try:
            wait_until(lambda: state.look_limiter.statistics().tasks_waiting == UPLOADS - LOOKS_AT_ONCE)
            answer = client.get("/v1/analysis")  # needs one of the shared threads
            assert answer.status_code == 200
            assert not any(upload.done() for upload in uploads), "the answer came only after a look had ended"
        finally:  # or the uploads, and the test, would wait for ever
            gate.write_bytes(b"go on")
        assert {upload.result().status_code for upload in uploads} == {201}
    busy.join()


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
