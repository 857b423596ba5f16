"""Which of a million paths were seen, in some 70 bytes each.

    seen = PathSet()
    seen.add("a.wav")        # True: it is new
    "a.wav" in seen

Of each path only a keyed 64-bit hash is kept: among a million paths two are taken for one in one case of 10^7, and
nobody can make a name for which it happens.
"""

import hashlib
import secrets

DIGEST_BYTES = 8
ENCODING_ERRORS = "surrogateescape"  # names of files are bytes


class PathSet:
    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)
        self._digests: set[int] = set()

    def add(self, path: str) -> bool:
        """False where it was there already."""
        before = len(self._digests)
        self._digests.add(self._digest(path))
        return len(self._digests) > before

    def __contains__(self, path: str) -> bool:
        return self._digest(path) in self._digests

    def __len__(self) -> int:
        return len(self._digests)

    def _digest(self, path: str) -> int:
        hashed = hashlib.blake2b(path.encode("utf-8", ENCODING_ERRORS), digest_size=DIGEST_BYTES, key=self._key)
        return int.from_bytes(hashed.digest())
