"""The signature of the Standard Webhooks scheme (standardwebhooks.com), symmetric: HMAC-SHA256, version `v1`.

signed_headers([secret], "msg_1", 1614265330, b"{}")     # webhook-id, webhook-timestamp, webhook-signature
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"
SECRET_BYTES = 32  # the scheme asks for 24 to 64


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(
    secrets_in_use: Sequence[str], message_id: str, timestamp_s: int, body: bytes
) -> dict[str, str]:
    """One signature for each secret: after a rotation the old one signs along, so that nobody misses a message."""
    content = f"{message_id}.{timestamp_s}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(_signature(secret, content) for secret in secrets_in_use),
    }


def _signature(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
