"""Erasing what is known of a record or of a customer's records, at the provider too, and saying what is known.

A customer's records are found by looking through all of them: this is for an operator's command, no event waits for it.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from service.connections import Connections, UnknownConnection
from service.deliveries import Deliveries
from service.entry import Entry
from service.found import Found
from service.ledger import Ledger
from service.verbs import JournalLine

SCAN: Final = 2_000_000
"""Records that are looked through for a customer's, in one pass."""
PATIENCE: Final = 30.0
"""Seconds for which the providers' answers are waited for, all records together."""
_PASSES: Final = 3  # looks for a customer's records until one finds none: a booking may move while they are listed
_BATCH: Final = 500
_LOOK_AGAIN: Final = 0.1
_ELSEWHERE = frozenset({"rank", "version", "changed", "video_link", "created"})  # of a wish: not kept with it


class TooMany(Exception):
    """There are more records than one look goes through."""

    def __init__(self) -> None:
        super().__init__(f"There are more than {SCAN:,} records; name the customer's with --record, one by one.")


@dataclass(frozen=True, slots=True)
class Erased:
    """`gone` records of which nothing is left; `left` are those whose meeting is still to be removed, and why."""

    gone: int
    left: dict[str, str]


class Erasure:
    """Erases, and tells what there is. All raise StoreUnavailable when the store cannot be used."""

    def __init__(self, ledger: Ledger, connections: Connections, deliveries: Deliveries, found: Found) -> None:
        self._ledger = ledger
        self._found = found
        self._connections = connections
        self._deliveries = deliveries

    async def record(self, record: str, patience: float = PATIENCE) -> Erased | None:
        """Erase one record; None when it is not known."""
        await self._found.erased(record.lower())
        done = await self._ledger.erase(record.lower())
        await self._deliveries.forget((record.lower(),))
        if done == "unknown":
            return None
        return await self._finished([record.lower()], time.monotonic() + patience)

    async def customer(self, customer: str, patience: float = PATIENCE) -> Erased:
        """Erase all records of a customer. Raises TooMany."""
        found: set[str] = set()
        for _ in range(_PASSES):
            more = [entry.record async for entry in self._of(customer)]
            for record in more:
                await self._found.erased(record)
                await self._ledger.erase(record)
            found.update(more)
            if not more:
                break
        await self._deliveries.forget(found, customer.lower())
        return await self._finished(sorted(found), time.monotonic() + patience)

    async def export(self, customer: str) -> dict[str, Any]:
        """All that is known of a customer's records. Raises TooMany."""
        records = []
        async for entry in self._of(customer):
            if found := await self._ledger.get(entry.record):
                records.append(self._known(*found[:2]))
        return {"customer": customer.lower(), "records": records}

    async def _of(self, customer: str) -> AsyncIterator[Entry]:
        after, looked = (0, ""), 0
        while looked < SCAN:
            page = await self._ledger.page(after, _BATCH)
            for _, entry in page.entries:
                if entry.wish and entry.wish.customer == customer.lower():
                    yield entry
            if page.last is None:
                return
            after, looked = page.last, looked + _BATCH
        raise TooMany

    async def _finished(self, records: list[str], until: float) -> Erased:
        """Wait while a worker removes the meetings; what it could not do by now it does later."""
        left: dict[str, str] = {}
        for record in records:
            while found := await self._ledger.get(record):
                tried = found[0].reason and found[0].leased_until <= time.time()
                if tried or time.monotonic() >= until:
                    break
                await asyncio.sleep(_LOOK_AGAIN)
            if found:
                reason = found[0].reason
                left[record] = reason.text if reason else "A worker has not come to it yet."
        return Erased(len(records) - len(left), left)

    def _known(self, entry: Entry, journal: list[JournalLine]) -> dict[str, Any]:
        wish, placed = entry.wish, entry.meeting
        said = wish._asdict() if wish else {}
        meeting = placed.meeting if placed else None
        return {
            **{name: value for name, value in said.items() if name not in _ELSEWHERE},
            "realm": entry.realm,
            "canceled": not entry.live,
            "version": entry.version,
            "changed": entry.changed,
            "asked": entry.asked or None,
            "state": entry.state,
            "reason": entry.reason.text if entry.reason else None,
            "link_token": entry.token,
            "connection": placed.connection if placed else None,
            "provider": self._provider(placed.connection) if placed else None,
            "host": placed.spec.host if placed else None,
            "title": placed.spec.title if placed else None,
            "meeting_id": meeting.id if meeting else None,
            "join_url": _without_passcode(meeting.join_url) if meeting else None,
            "journal": [asdict(line) for line in journal],
        }

    def _provider(self, connection: str) -> str | None:
        try:
            return self._connections.get(connection).provider
        except UnknownConnection:
            return None


def _without_passcode(url: str) -> str:
    """A passcode stands behind the path."""
    return urlsplit(url)._replace(query="", fragment="").geturl()
