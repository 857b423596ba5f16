"""Taking one file of the import folder in as evidence, as an upload would be.

    analysis_id = take_in(state, batch, item)

Done twice it gives the same analysis, by a key of its own: a service that dies between this and the run's request
leaves nothing double.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

from app.analysis.upload import Arrival, commit
from app.batches import imports
from app.batches.models import Batch, BatchItem
from app.errors import ImportPathError, UnsupportedMediaError, UploadTooLargeError
from app.evidence.intake import ReceivedForm, looked_at
from app.evidence.multipart import MAX_FIELD_CHARACTERS
from app.evidence.names import ACCEPTED_SUFFIXES, clean_filename, extension
from app.evidence.store import READ_BLOCK_BYTES
from app.identity.user import Role, User
from app.quotas.models import Kind
from app.state import ServiceState


def take_in(state: ServiceState, batch: Batch, item: BatchItem) -> uuid.UUID:
    """Raises ImportsOffError, ImportPathError, UnsupportedMediaError, UploadTooLargeError, what the look at its content
    raises, and what has nothing to do with the file: StorageFullError, TooManyRequestsError, RunInterruptedError."""
    assert item.path is not None
    settings = state.settings
    path = imports.recording(settings.import_dir, item.path)
    label = clean_filename(path.name)
    if f".{extension(label)}" not in ACCEPTED_SUFFIXES:
        raise UnsupportedMediaError(f"{label} has no extension of a recording")
    try:
        size_bytes = path.stat().st_size
    except OSError as error:
        raise _unreadable(item.path, error) from error
    state.quotas.check_room(state.database, batch.created_by, Kind.UPLOAD_BYTES, size_bytes)
    fields: dict[str, str | None] = {"source": f"import: {item.path}"[: MAX_FIELD_CHARACTERS["source"]]}
    with state.store.receive() as incoming:
        for block in _read(path, item.path, settings.max_upload_bytes):
            incoming.write(block)
        received = incoming.finish()
        media = looked_at(state.prober, incoming, label, settings.probe_timeout.total_seconds())
        key = f"batch:{batch.id}:{item.position}"
        arrival = Arrival(incoming, received, ReceivedForm(label, fields), media, key)
        return commit(state, User(batch.created_by, Role.ANALYST), arrival).record.id


def _read(path: Path, name: str, max_bytes: int) -> Iterator[bytes]:
    """Raises ImportPathError for whatever its disk says, UploadTooLargeError."""
    read = 0
    try:
        with imports.opened(path) as source:
            while block := source.read(READ_BLOCK_BYTES):
                read += len(block)
                if read > max_bytes:
                    raise UploadTooLargeError(f"the recording is larger than {max_bytes} bytes")
                yield block
    except OSError as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: OSError) -> ImportPathError:
    return ImportPathError(f"{name!r} can't be read: {error.strerror}")
