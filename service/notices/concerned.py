"""Remembers on bookings that people were told of them, so that their pages can say so."""

from typing import Final

from service.lacking import named
from service.ledger import Ledger
from service.matters import BAD_HEALTH, Code
from service.notices.book import Pending
from service.store import Store

_STOPS: Final = BAD_HEALTH | frozenset[Code]({"connection.unusable", "connection.scopes"})


class Concerned:
    """Of a notice those count that its lines are about: the bookings of a line, and what waits for its connection.

    What is only counted as more, and what came after the notice was written, was not told.
    """

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger

    async def remember(self, pending: Pending, at: int) -> None:
        """A notice arrived at `at` (unix seconds). Raises: StoreUnavailable."""
        told = [line.matter for line in pending.summary.lines]
        connections = [each.about for each in told if each.code in _STOPS]
        names = {name for each in told for name in pending.items.get(each.key, ())}
        records = await named(self._store, pending.summary.at, names)
        if connections or records:
            await self._ledger.noticed(at, connections, records)
