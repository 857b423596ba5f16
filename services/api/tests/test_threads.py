"""Threads of the service end within a bound, or are told of."""

import threading

from structlog.testing import capture_logs

from app.threads import wait_for_end


def test_one_that_ends_is_waited_for_and_not_told_of() -> None:
    thread = threading.Thread(target=lambda: None, daemon=True)
    thread.start()
    with capture_logs() as logs:
        wait_for_end(thread)
    assert not thread.is_alive() and logs == []


def test_one_that_hangs_is_told_of_and_left() -> None:
    never = threading.Event()
    thread = threading.Thread(target=never.wait, name="stuck", daemon=True)
    thread.start()
    with capture_logs() as logs:
        wait_for_end(thread, limit_s=0.01)
    never.set()
    assert [(entry["event"], entry["thread"]) for entry in logs] == [("thread_does_not_end", "stuck")]
