"""The service's commands, by the settings in the environment.

    python -m app                  # serve
    python -m app retention        # one sweep: erase what is due, remove what was erased, also if it came back
    python -m app orphans          # tell what lies in the store for a week and no record names
    python -m app remove-orphans   # and remove it
    python -m app worker           # carry out runs for services elsewhere; also called `earwitness worker`
    python -m app verify           # after a restore: every stored byte and the whole audit chain against the records

Exit status: 0 done and found in order, 1 not in order, 2 could not be begun or ended; the reason is on standard error.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial

from pydantic import ValidationError
from pydantic_settings import SettingsError
from sqlalchemy.exc import SQLAlchemyError

from app import logs, tracing
from app.database import DATABASE_AWAY, Database, DatabaseUnusableError
from app.detectors.source import OnnxSource
from app.errors import AppError
from app.evidence.marking import expect
from app.evidence.opening import open_store
from app.evidence.store import EvidenceStore
from app.orm import utc_now
from app.retention import service as retention
from app.retention.orphans import orphans
from app.retention.verification import verify
from app.settings import Settings

EXIT_NOT_IN_ORDER = 1
EXIT_CANT_START = 2
OWNER_ONLY = (
    0o077  # what is made from here on, the write-ahead log and the port file included, nobody else can read
)


def main(arguments: Sequence[str] | None = None) -> int:
    os.umask(OWNER_ONLY)
    parser = argparse.ArgumentParser(prog="python -m app", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("command", nargs="?", choices=list(COMMANDS), default="serve")
    chosen = parser.parse_args(arguments)
    try:
        settings = Settings()
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return _refuse(f"a setting is wrong (environment, prefix EARWITNESS_): {wrong}")
    except SettingsError as error:  # a list that is no JSON, or a secret that only root may read
        why = f": {error.__cause__}" if isinstance(error.__cause__, OSError) else ""
        return _refuse(f"a setting is wrong: {' '.join(str(error).split())}{why}")
    logs.configure(settings.log_level)
    try:
        stop_tracing = tracing.configure(settings.otlp_endpoint)
    except tracing.TracingUnavailableError as error:
        return _refuse(str(error))
    try:
        return COMMANDS[chosen.command](settings)
    finally:
        stop_tracing()


def _serve(settings: Settings) -> int:
    from app.server import run  # noqa: PLC0415  the other commands need no server

    return run(settings)


def _worker(settings: Settings) -> int:
    from app.jobs.command import work  # noqa: PLC0415  the other commands need no queue

    return work(settings, OnnxSource(settings.model))


def worker(arguments: Sequence[str]) -> int:
    """`earwitness worker`."""
    return main(["worker", *arguments])


def _retention(settings: Settings) -> int:
    def sweep(database: Database, store: EvidenceStore) -> int:
        swept = retention.sweep(database, store, settings.evidence_retention, utc_now(), finished_too=True)
        _tell(asdict(swept))
        return EXIT_NOT_IN_ORDER if swept.failed else 0

    return _beside_the_service(settings, sweep)


def _orphans(settings: Settings, *, remove: bool = False) -> int:
    def look(database: Database, store: EvidenceStore) -> int:
        found = orphans(database, store, utc_now(), remove=remove)
        _tell(asdict(found))
        return EXIT_NOT_IN_ORDER if found.failed or found.refused else 0

    return _beside_the_service(settings, look)


def _verify(settings: Settings) -> int:
    def check(database: Database, store: EvidenceStore) -> int:
        found = verify(database, store)
        _tell(asdict(found))
        return 0 if found.in_order else EXIT_NOT_IN_ORDER

    return _beside_the_service(settings, check)


COMMANDS: Mapping[str, Callable[[Settings], int]] = {
    "serve": _serve,
    "worker": _worker,
    "retention": _retention,
    "orphans": _orphans,
    "remove-orphans": partial(_orphans, remove=True),
    "verify": _verify,
}


def _beside_the_service(settings: Settings, work: Callable[[Database, EvidenceStore], int]) -> int:
    """With the database and the evidence, whether a service works with them at the same time or not."""
    with ExitStack() as stack:
        try:
            database = Database(settings.database_url)
            stack.callback(database.close)
            database.ping()
            store = open_store(settings, owner=False)
            stack.callback(store.close)
            expect(database, store)
        except (AppError, DatabaseUnusableError, SQLAlchemyError, OSError) as error:
            return _refuse(" ".join(str(error).split()))
        try:
            return work(database, store)
        except (AppError, *DATABASE_AWAY) as error:  # the store, or the database, is away
            return _refuse(" ".join(str(error).split()))


def _tell(result: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(result) + "\n")


def _refuse(reason: str) -> int:
    sys.stderr.write(f"earwitness: {reason}\n")
    return EXIT_CANT_START
