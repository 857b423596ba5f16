"""The watch of the root's conftest.py: a test that even its time limit can't end ends the run, and says where."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE_S = 60.0

HANGING = """
import time
import pytest

@pytest.fixture
def stubborn():
    yield
    while True:  # whatever is raised to end it
        try:
            time.sleep(60)
        except BaseException:
            pass

def test_that_passes():
    pass

def test_that_hangs_in_its_teardown(stubborn):
    pass
"""
RUN = """
import sys
import pytest
sys.path.insert(0, sys.argv[1])
import conftest
conftest.GRACE_S = 0.5
options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--timeout", "1"]
sys.exit(pytest.main([*options, sys.argv[2]], plugins=[conftest]))
"""


def run(tmp_path: Path, tests: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "test_them.py"
    file.write_text(tests)
    command = [sys.executable, "-c", RUN, str(ROOT), str(file)]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_a_test_that_hangs_in_its_teardown_ends_the_run_with_all_stacks(tmp_path: Path) -> None:
    done = run(tmp_path, HANGING)
    assert done.returncode == 1
    assert "Timeout" in done.stderr and "in stubborn" in done.stderr, done.stderr
    assert "2 passed" not in done.stdout


def test_what_ends_in_time_is_let_alone(tmp_path: Path) -> None:
    done = run(tmp_path, HANGING.replace("while True", "if False").replace("yield", "yield 1"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_a_failure_is_told_when_it_happens(tmp_path: Path) -> None:
    """Before the summary, to which a run that is cut off never comes."""
    done = run(tmp_path, "def test_that_fails():\n    assert 1 == 2\n")
    assert done.returncode == 1
    assert "assert 1 == 2" in done.stdout.split("= FAILURES =")[0] + done.stderr, done.stdout
