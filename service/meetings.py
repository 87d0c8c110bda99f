"""Which record a vendor's meeting belongs to, for vendors that tell us what people change there.

Key: `vm:meeting:<name>`, the record and when we last touched the meeting; as long as the record's entry. It is a hint:
one that is missing costs nothing but a repair that comes later.
"""

import time
from collections.abc import Sequence
from typing import Final

from service.entry import Placement
from service.store import Store

ECHO: Final = 10.0
"""Seconds after our own change within which a vendor's word about it says nothing new."""
KEPT: Final = 30 * 86_400
"""Seconds a meeting is remembered after its end, unless told otherwise."""


class Meetings:
    """The meetings that we made or changed."""

    def __init__(self, store: Store, kept: int = KEPT) -> None:
        self._store = store
        self._kept = kept

    async def touched(self, record: str, placed: Placement) -> None:
        """Remember that we have just made or changed a meeting."""
        now = int(time.time())
        keep = max(0, placed.spec.end - now) + self._kept
        await self._store.execute("SET", f"vm:meeting:{placed.name}", f"{record} {now}", "EX", keep)

    async def forget(self, names: Sequence[str]) -> None:
        """Remember these meetings no longer: they are gone."""
        await self._store.pipeline([("DEL", f"vm:meeting:{name}") for name in names])

    async def record(self, names: Sequence[str], at: float) -> str | None:
        """The record of the first known meeting, None if none is or what happened at `at` was our own doing."""
        for held in await self._store.pipeline([("GET", f"vm:meeting:{name}") for name in names]) if names else []:
            if held:
                record, _, touched = str(held).partition(" ")
                return record if at > int(touched) + ECHO else None
        return None
