"""Doing as others do: where any process on this database reloads its models, this one does so too.

    follower = Follower(reloader)
    Periodic("models", settings.worker_heartbeat, lambda _stopping: follower.look())

The audit trail is what is looked at: it is there already, it outlasts a lost connection, and who looks late finds
the same. Each host has a shelf; where this one's holds another model than the one that was told of, the log says so.
"""

import structlog

from app.audit import repository as audit
from app.database import DATABASE_AWAY
from app.detectors.service import Reloader
from app.errors import ModelRefusedError

log = structlog.get_logger(__name__)


class Follower:
    def __init__(self, reloader: Reloader) -> None:
        self._reloader = reloader
        self._seen: int | None = None
        """The newest event of the audit trail at the last look."""

    def look(self) -> None:
        """Take stock if another process did since the last look, and at the first look, for what it may have missed."""
        try:
            with self._reloader.database.read() as session:
                newest = audit.newest_sequence(session)
                told = audit.reloads_after(session, newest if self._seen is None else self._seen)
        except DATABASE_AWAY as error:
            log.warning("reloads_not_looked_up", error=str(error))
            return
        first, self._seen = self._seen is None, newest
        if not first and not told:
            return
        try:
            _, now = self._reloader.change(f"{told[-1].actor}, by another process" if told else "start")
        except ModelRefusedError:  # logged and counted; it stays with what it has
            return
        if not told:
            return
        wanted, found = told[-1].details, now.description
        if (wanted["active_sha256"], wanted["active_spec_sha256"]) != (found.model_sha256, found.spec_sha256):
            log.warning(
                "models_differ",
                active=found.model_version,
                elsewhere=wanted["active"],
                advice="the shelf of this process holds another model: put the same one there and reload again",
            )
