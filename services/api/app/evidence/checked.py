"""Evidence on its way out, hashed as it goes: whoever has all of it has what was received.

    StreamingResponse(checked(store.read(sha256), sha256, size_bytes, altered))

The last block is kept back until the hash is known. Where it is another one, that block is never sent: the answer ends
short of its Content-Length and the connection is closed, which every client takes for an error. A status can't say it
any more.
"""

import hashlib
from collections.abc import Callable, Iterator

from app.errors import EvidenceAlteredError

ALTERED = "the stored evidence no longer has the hash that it was received with: its transfer was broken off"


def checked(
    blocks: Iterator[bytes], sha256: str, size_bytes: int, altered: Callable[[str], None]
) -> Iterator[bytes]:
    """Raises EvidenceAlteredError before the last block, after `altered` was told the hash of what is there."""
    digest = hashlib.sha256()
    seen_bytes, kept = 0, b""
    for block in blocks:
        digest.update(block)
        seen_bytes += len(block)
        if seen_bytes > size_bytes:  # more than there should be: read on for its hash, and send none of it
            continue
        if kept:
            yield kept
        kept = block
    if digest.hexdigest() != sha256:
        altered(digest.hexdigest())
        raise EvidenceAlteredError(ALTERED, actual_sha256=digest.hexdigest())
    yield kept
