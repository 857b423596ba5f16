"""Every test ends: one that hangs, in its teardown too, ends its process with all stacks; failures are told at once.

pytest-timeout fails a test that takes too long, but what the test then waits for in its teardown (a pool, a thread)
is not bounded by it: a run that hangs there is cut off by whoever started it, and nothing says where it hung.
"""

import faulthandler
import os
from collections.abc import Iterator

import pytest

GRACE_S = 60.0  # for the failure that pytest-timeout raises to unwind the test
STDERR = pytest.StashKey[int]()


def _limit_s(item: pytest.Item) -> float:
    """As pytest-timeout reads it: the mark's, else the command's, else the project's."""
    marker = item.get_closest_marker("timeout")
    if marker is not None:
        return float(marker.args[0] if marker.args else marker.kwargs["timeout"])
    return float(item.config.getoption("timeout") or item.config.getini("timeout") or 0)


def _bounded(item: pytest.Item) -> Iterator[None]:
    limit_s = _limit_s(item)
    if limit_s > 0:
        faulthandler.dump_traceback_later(limit_s + GRACE_S, exit=True, file=item.config.stash[STDERR])
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    yield from _bounded(item)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    yield from _bounded(item)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    yield from _bounded(item)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[STDERR] = os.dup(2)  # not captured yet, as it is while a test runs
    if not hasattr(config, "workerinput"):  # the process that prints, not one of xdist's
        config.pluginmanager.register(_Teller(config), "tells-failures-at-once")


class _Teller:
    """A run that is cut off never comes to its summary, so each failure is printed when it happens."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            terminal.ensure_newline()
            terminal.write_line(f"FAILED in {report.when}: {report.nodeid}", red=True)
            terminal.write_line(report.longreprtext)
