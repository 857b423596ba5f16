"""Stopping a pool of processes while they start: nothing is left of it, not even a word."""

import subprocess
import sys
from pathlib import Path

SLOW_WORKERS = """
import multiprocessing, os, signal, time
from pebble import ProcessPool
from earwitness.pools import dispose

FIRST_IS_STARTING = {started!r}

def hold_out():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open(FIRST_IS_STARTING, "w").close()
    time.sleep(60)

class Slow:
    "Keeps the first worker that loads it from being stopped by a word, and the second one from being ready at once."
    loaded = 0
    def __reduce__(self):
        Slow.loaded += 1
        return (hold_out, ()) if Slow.loaded == 1 else (time.sleep, (1.0,))

def start(_slow):
    pass

if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPool(2, initializer=start, initargs=(Slow(),), context=context)
    pool.schedule(str)
    while not os.path.exists(FIRST_IS_STARTING):
        time.sleep(0.01)
    print("disposed", dispose(pool))
"""


def test_workers_that_are_starting_when_their_pool_is_stopped_end_in_silence(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SLOW_WORKERS.format(started=str(tmp_path / "started")))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "disposed True\n", "")
