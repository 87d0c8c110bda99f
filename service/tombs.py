"""Names for what is left of erased records, made with a key that is in the store in an envelope only.

Key: `vm:tombs` (a hash with the envelope); no TTL. Who has the store alone cannot tell whether a record was erased.
"""

import base64
import hmac
import os
from functools import lru_cache
from typing import Final

from service.store import Store
from service.vault import Vault

TOMBS: Final = "vm:tombs"
TOMBS_FIELD: Final = "key"
TOMBS_PURPOSE: Final = "tombs"


class Tombs:
    """Names tombs."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = key
        self.name = lru_cache(1024)(self._name)  # Vello asks about the same records again and again

    @classmethod
    async def load(cls, store: Store, vault: Vault) -> "Tombs":
        """With the store's key, which the first process makes. Raises UnknownKey, Damaged, StoreUnavailable."""
        made = vault.seal(base64.b64encode(os.urandom(32)).decode(), TOMBS_PURPOSE)
        await store.execute("HSETNX", TOMBS, TOMBS_FIELD, made)
        held = await store.execute("HGET", TOMBS, TOMBS_FIELD)
        return cls(base64.b64decode(vault.open(held, TOMBS_PURPOSE)))

    def _name(self, record: str) -> str:
        """The same record always has the same one."""
        return hmac.digest(self._key, record.encode(), "sha256").hex()[:32]
