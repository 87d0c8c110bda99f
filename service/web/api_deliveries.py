"""`/api/v1/deliveries`: the delivery log; the API and the pages call the same."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import Path, Query

from service.changes import Changes
from service.deliveries import NEWEST, Deliveries
from service.delivery import ID, UUID, Delivery, Wanted
from service.errands import Errands
from service.replays import KIND, Replays, about
from service.web.api_errands import begun
from service.web.errors import BY_API, Problem
from service.web.schema import DeliveriesWanted, DeliveryPage, DeliveryRead, ErrandRead, OutlookRead, ReplayRead

SCAN = 5_000
"""Lines one request looks at, however few of them fit."""
_BATCH = 500

DeliveryId = Annotated[str, Path(pattern=ID)]


class DeliveriesApi:
    """The API's operations on the delivery log."""

    def __init__(self, deliveries: Deliveries, replays: Replays, errands: Errands, changes: Changes) -> None:
        self._deliveries = deliveries
        self._replays = replays
        self._errands = errands
        self._changes = changes

    async def list_deliveries(
        self,
        since: Annotated[float, Query(ge=0, le=99_999_999_999, description="Came then or later.")] = 0,
        until: Annotated[float | None, Query(ge=0, le=99_999_999_999, description="Came before then.")] = None,
        record: Annotated[str | None, Query(pattern=UUID)] = None,
        kind: Literal["event", "call"] | None = None,
        type: Annotated[str | None, Query(max_length=200)] = None,
        verdict: Annotated[str | None, Query(max_length=64)] = None,
        connection: Annotated[str | None, Query(max_length=64)] = None,
        failing: Annotated[bool, Query(description="Only what did not do what it was to do.")] = False,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(pattern=ID)] = None,
    ) -> DeliveryPage:
        """Events that came in and calls that went out, the newest first."""
        wanted = Wanted(since, until, record.lower() if record else None, kind, type, verdict, connection, failing)
        return await self.find(wanted, limit, cursor)

    async def find(
        self,
        wanted: Wanted,
        limit: int = 50,
        cursor: str | None = None,
        *,
        sees: Callable[[str], bool] = lambda _: True,
    ) -> DeliveryPage:
        """Lines, the newest first, of companies that somebody `sees`."""
        found: list[DeliveryRead] = []
        before = cursor or (NEWEST if wanted.until is None else str(int(wanted.until * 1000)))
        looked, batch = 0, limit
        while looked < SCAN:
            lines, more = await self._deliveries.page(before, batch, since=wanted.since, record=wanted.record)
            looked += batch
            for line in lines:
                if wanted.fits(line) and sees(line.realm):
                    found.append(shown(line))
                if len(found) == limit:
                    return DeliveryPage(deliveries=found, cursor=line.id)
            if more is None:
                return DeliveryPage(deliveries=found, cursor=None)
            before, batch = more, min(batch * 4, _BATCH)
        return DeliveryPage(deliveries=found, cursor=before)

    async def get_delivery(self, delivery: DeliveryId) -> DeliveryRead:
        """One line of the log."""
        return shown(await self.known(delivery))

    async def preview_delivery(self, delivery: DeliveryId) -> ReplayRead:
        """What replaying one event would do now; nothing is changed."""
        return await self.foreseen(await self.known(delivery))

    async def foreseen(self, line: Delivery) -> ReplayRead:
        """The same of a line that was read. Raises Problem."""
        told = await self._replays.foresee(line)
        if told is None:
            raise _not_replayable()
        return ReplayRead.model_validate(asdict(told))

    async def replay_delivery(self, delivery: DeliveryId) -> ReplayRead:
        """Apply what one event said again; the ledger's order holds, so something stale changes nothing."""
        return await self.replay(await self.known(delivery), BY_API)

    async def replay(self, line: Delivery, who: str) -> ReplayRead:
        """The same of a line that was read, for `who`. Raises Problem."""
        verdict = await self._replays.replay(line)
        if verdict is None:
            raise _not_replayable()
        await self._changes.note(who, KIND, line.id, "set")
        return ReplayRead(verdict=verdict)

    async def preview_deliveries(self, wanted: DeliveriesWanted) -> OutlookRead:
        """What replaying many events would do now, of each record its newest; nothing is changed."""
        return await self.outlook(_of(wanted))

    async def outlook(self, wanted: Wanted, sees: Callable[[str], bool] = lambda _: True) -> OutlookRead:
        """The same, of companies that somebody `sees`."""
        return OutlookRead.model_validate(asdict(await self._replays.outlook(wanted, sees)))

    async def replay_deliveries(self, wanted: DeliveriesWanted) -> ErrandRead:
        """Replay many events, twenty a second, in the background; the answer says how to follow it."""
        return await self.begin(_of(wanted), BY_API, None)

    async def begin(self, wanted: Wanted, who: str, companies: tuple[str, ...] | None) -> ErrandRead:
        """The same for `who`, of some companies or of all (None)."""
        return await begun(self._errands, KIND, about(wanted, companies), who)

    async def known(self, delivery: str) -> Delivery:
        """One line. Raises Problem when it is not in the log, or not any more."""
        line = await self._deliveries.get(delivery)
        if line is None:
            raise Problem(404, "unknown_delivery", "This is not in the delivery log, or not any more.")
        return line


def _of(wanted: DeliveriesWanted) -> Wanted:
    return Wanted(**wanted.model_dump(), kind="event")


def _not_replayable() -> Problem:
    return Problem(
        409, "not_replayable", "What it said is not in the log: only an event about a record can be replayed."
    )


def shown(line: Delivery) -> DeliveryRead:
    """A line as it may be shown."""
    return DeliveryRead(
        id=line.id,
        at=line.at,
        kind="event" if line.kind == "event" else "call",
        record=line.record,
        realm=line.realm,
        type=line.type,
        event=line.event,
        version=line.version,
        verdict=line.verdict,
        code=line.code,
        connection=line.connection,
        provider=line.provider,
        verb=line.verb,
        status=line.status,
        attempt=line.attempt,
        milliseconds=line.milliseconds,
        times=line.times,
        failing=line.failing,
        replayable=line.replayable,
        replay_of=line.again,
    )
