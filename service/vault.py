"""Encryption at rest: AES-256-GCM envelopes that name their key and are bound to what they are for."""

import base64
import binascii
import hmac
import os
import re
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")

_VERSION = "v1"
_NONCE_BYTES = 12
_TAG_BYTES = 16


class UnknownKey(Exception):
    """An envelope was sealed with a key that SECRET_KEYS no longer holds."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"A secret was sealed with the key '{key_id}'; put that key back into SECRET_KEYS.")
        self.key_id = key_id


class Damaged(Exception):
    """An envelope was changed, cut short, or belongs to something else."""

    def __init__(self) -> None:
        super().__init__("A sealed secret is damaged or belongs to something else.")


class Vault:
    """Seals and opens secrets; the first key seals, every key opens.

    An envelope reads `v1.<key id>.<base64url of nonce, ciphertext and tag>`. Its version, its key id and the
    caller's `purpose`, such as `connection:<id>`, are authenticated, so it opens nowhere else.
    """

    def __init__(self, keys: Sequence[tuple[str, bytes]]) -> None:
        """Take (key id, 32 bytes) pairs, the active one first. Raises ValueError for unusable keys."""
        if not keys:
            raise ValueError("A vault needs at least one key.")
        if any(not KEY_ID.fullmatch(key_id) or len(key) != KEY_BYTES for key_id, key in keys):
            raise ValueError("A key needs an id of letters, digits, - and _, and exactly 32 bytes.")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys}
        if len(self._ciphers) != len(keys):
            raise ValueError("Two keys have the same id.")
        self._active = keys[0][0]

    def __repr__(self) -> str:
        return f"Vault(keys={list(self._ciphers)})"

    def seal(self, plaintext: str, purpose: str) -> str:
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._active].encrypt(nonce, plaintext.encode(), _bound(self._active, purpose))
        text = base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()
        return f"{_VERSION}.{self._active}.{text}"

    def open(self, envelope: str, purpose: str) -> str:
        """Return the plaintext. Raises UnknownKey when the key is gone, Damaged for anything else."""
        key_id, body = _parts(envelope)
        if (cipher := self._ciphers.get(key_id)) is None:
            raise UnknownKey(key_id)
        try:
            return cipher.decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], _bound(key_id, purpose)).decode()
        except InvalidTag:
            raise Damaged from None

    def needs_rotation(self, envelope: str) -> bool:
        """Tell whether another key than the active one sealed it. Raises Damaged for what is no envelope."""
        return _parts(envelope)[0] != self._active


def _bound(key_id: str, purpose: str) -> bytes:
    return f"{_VERSION}.{key_id}.{purpose}".encode()  # a key id holds no dot, so no two triples read alike


def _parts(envelope: str) -> tuple[str, bytes]:
    version, _, rest = envelope.partition(".")
    key_id, _, text = rest.partition(".")
    if version != _VERSION or not KEY_ID.fullmatch(key_id):
        raise Damaged
    try:
        body = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Damaged from None
    # Base64 leaves bits unused at its end: only the one spelling that seal() writes is an envelope.
    if base64.urlsafe_b64encode(body).rstrip(b"=").decode() != text or len(body) < _NONCE_BYTES + _TAG_BYTES:
        raise Damaged
    return key_id, body


def fingerprint(key: bytes) -> str:
    """A name for a key that gives nothing of it away: the same key always has the same one."""
    return hmac.digest(key, b"vello-meetings key", "sha256").hex()[:16]
