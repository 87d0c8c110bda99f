"""Signed calls as Standard Webhooks says: HMAC-SHA256 over `id.timestamp.body` with a secret of `whsec_` and base64.

Source: https://github.com/standard-webhooks/standard-webhooks, `spec/standard-webhooks.md`.
"""

import base64
import hashlib
import hmac
from typing import Final

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what secrets begin with
SECRET_BYTES: Final = range(24, 65)


def key_of(secret: str) -> bytes:
    """The key that a secret stands for. Raises ValueError for what is none."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:  # what is no base64, and what is no ASCII
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) not in SECRET_BYTES:
        raise ValueError("The secret must be whsec_ and 24 to 64 random bytes in base64.")
    return key


def signed(key: bytes, id_: str, now: int, body: bytes) -> dict[str, str]:
    """The headers of a call; `now` in unix seconds. One that is sent again keeps its id."""
    digest = hmac.digest(key, f"{id_}.{now}.".encode() + body, hashlib.sha256)
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": id_, "webhook-timestamp": str(now), "webhook-signature": signature}
