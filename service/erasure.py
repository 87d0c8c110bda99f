"""Erasing what is known of a record or of a customer's records, at the provider too, and saying what is known.

A customer's records are found by looking through all of them: this is for an operator's command, no event waits for it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from service.connections import Connections, UnknownConnection
from service.deliveries import Deliveries
from service.entry import Entry
from service.errands import Errand, Step
from service.found import Found
from service.ledger import Ledger
from service.verbs import JournalLine

SCAN: Final = 2_000_000
"""Records that are looked through for a customer's, in one pass."""
PATIENCE: Final = 30.0
"""Seconds for which the providers' answers are waited for, all records together."""
WATCHED: Final = 86_400
"""Seconds for which an errand waits for the removal of meetings."""
KIND: Final = "erase"

Sees = Callable[[str], bool]
"""Whether somebody may see what is of a company."""

_PASSES: Final = 3  # looks for a customer's records until one finds none: a booking may move while they are listed
_BATCH: Final = 500
_LOOK_AGAIN: Final = 0.1
_ELSEWHERE = frozenset({"rank", "version", "changed", "video_link", "created"})  # of a wish: not kept with it


class TooMany(Exception):
    """There are more records than one look goes through."""

    def __init__(self) -> None:
        super().__init__(f"There are more than {SCAN:,} records; name the customer's with --record, one by one.")


def everything(_: str) -> bool:
    """Sees all companies."""
    return True


def seen_by(companies: Collection[str] | None) -> Sees:
    """What an admin of some companies, or of all (None), sees."""
    return everything if companies is None else lambda realm: (realm or "own") in companies


def about(record: str | None, customer: str | None, companies: Collection[str] | None) -> dict[str, Any]:
    """What an errand is about that erases a record or a customer's, of some companies or of all (None)."""
    return {
        "record": record and record.lower(),
        "customer": customer and customer.lower(),
        "companies": None if companies is None else list(companies),
    }


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
        async for records in self._by_log(customer.lower(), everything):
            for record in records:
                await self._found.erased(record)
                if await self._ledger.erase(record) != "unknown":
                    found.add(record)
            await self._deliveries.forget(records)
        await self._deliveries.forget(found, customer.lower())
        return await self._finished(sorted(found), time.monotonic() + patience)

    async def export(self, customer: str) -> dict[str, Any]:
        """All that is known of a customer's records. Raises TooMany."""
        return {"customer": customer.lower(), "records": [each async for each in self.told(customer)]}

    async def told(self, customer: str, sees: Sees = everything) -> AsyncIterator[dict[str, Any]]:
        """All that is known of a customer's records, one by one. Raises TooMany, after some of them."""
        async for entry in self._of(customer):
            if known := await self.known(entry.record, sees):
                yield known

    async def known(self, record: str, sees: Sees = everything) -> dict[str, Any] | None:
        """All that is known of one record; None where that is nothing."""
        found = await self._ledger.get(record.lower())
        if found is None or not sees(found[0].realm):
            return None
        lines = await self._deliveries.of(record.lower())
        told = [{name: value for name, value in asdict(line).items() if name != "content"} for line in lines]
        return {**self._known(*found[:2]), "deliveries": told}

    async def step(self, errand: Errand, what: Mapping[str, Any]) -> Step:
        """Go on with an erasure; what was found so far stands in what the errand is about, sealed.

        A customer's records are looked for until one look finds none, then a worker's removals are waited for.
        """
        counts = {"looked": 0, "erased": 0, "left": 0, **errand.counts}
        sees, left = seen_by(what["companies"]), list(what.get("left", ()))
        customer, record = what["customer"], what["record"]
        if errand.place.startswith("wait"):
            return await self._waited(errand, what, left, counts)
        if record:
            known = await self._ledger.get(record)
            if sees(known[0].realm) if known else what["companies"] is None:
                left = await self._erased([record], counts, sees)
            elif known is None:  # whose it was, its lines know
                await self._deliveries.forget([record], None, sees)
            return Step("wait:0", counts, 0.0, {**what, "left": left})
        start, last = what.get("after") or (0, "")
        page = await self._ledger.page((start, last), _BATCH)
        counts["looked"] += len(page.entries)
        mine = [each.record for _, each in page.entries if _belongs(each, customer) and sees(each.realm)]
        left += [each for each in await self._erased(mine, counts, sees) if each not in left]
        seen = what.get("seen", 0) + len(mine)  # in this look
        if page.last is not None:
            return Step("look", counts, 0.0, {**what, "left": left, "seen": seen, "after": page.last})
        if seen:  # a booking may have moved past the look
            return Step("look", counts, 0.0, {**what, "left": left, "seen": 0, "after": None})
        async for records in self._by_log(customer, sees):
            left += await self._erased([each for each in records if each not in left], counts, sees)
        await self._deliveries.forget([], customer, sees)
        return Step("wait:0", counts, 0.0, {**what, "left": left})

    async def _by_log(self, customer: str, sees: Sees) -> AsyncIterator[list[str]]:
        """A customer's records that name nobody any more, for Vello deleted them: only the log knows whose they were.

        One that names another customer by now is that one's. One that the ledger does not know is any company's, so
        only who sees all of them erases it.
        """
        async for records in self._deliveries.naming(customer, sees):
            held = [(record, await self._ledger.get(record)) for record in records]
            yield [
                record
                for record, known in held
                if (known[0].wish is None and sees(known[0].realm) if known else sees is everything)
            ]

    async def _erased(self, records: list[str], counts: dict[str, int], sees: Sees) -> list[str]:
        """Erase some; answers those whose meetings are still to be removed."""
        left = []
        for record in records:
            await self._found.erased(record)
            done = await self._ledger.erase(record)
            counts["erased"] += done != "unknown"
            if done == "pending":
                left.append(record)
        if records:
            await self._deliveries.forget(records, None, sees)
        counts["left"] += len(left)
        return left

    async def _waited(self, errand: Errand, what: Mapping[str, Any], left: list[str], counts: dict[str, int]) -> Step:
        """Look whether a worker has removed their meetings; one that cannot for a day does it later, unwatched."""
        left = [record for record in left if await self._ledger.get(record)]
        counts["left"] = len(left)
        if not left or time.time() > errand.at + WATCHED:
            return Step(None, counts)
        looks = int(errand.place.partition(":")[2])
        return Step(f"wait:{looks + 1}", counts, min(0.5 * 2 ** min(looks, 7), 60.0), {**what, "left": left})

    async def _of(self, customer: str) -> AsyncIterator[Entry]:
        after, looked = (0, ""), 0
        while looked < SCAN:
            page = await self._ledger.page(after, _BATCH)
            for _, entry in page.entries:
                if _belongs(entry, customer):
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


def _belongs(entry: Entry, customer: str) -> bool:
    return entry.wish is not None and entry.wish.customer == customer.lower()


def _without_passcode(url: str) -> str:
    """A passcode stands behind the path."""
    return urlsplit(url)._replace(query="", fragment="").geturl()
