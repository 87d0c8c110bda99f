"""`/api/v1/deliveries`: the delivery log; the API and the pages call the same."""

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import Path, Query

from service.deliveries import NEWEST, Deliveries
from service.delivery import Delivery, Wanted
from service.web.errors import Problem
from service.web.schema import DeliveryPage, DeliveryRead

SCAN = 5_000
"""Lines one request looks at, however few of them fit."""
_BATCH = 500

CURSOR = r"^\d{1,14}\.(\d{1,2}|apart)\.[0-9a-f]{9,24}$"
UUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
DeliveryId = Annotated[str, Path(pattern=CURSOR)]


class DeliveriesApi:
    """The API's operations on the delivery log."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries

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
        cursor: Annotated[str | None, Query(pattern=CURSOR)] = None,
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

    async def known(self, delivery: str) -> Delivery:
        """One line. Raises Problem when it is not in the log, or not any more."""
        line = await self._deliveries.get(delivery)
        if line is None:
            raise Problem(404, "unknown_delivery", "This is not in the delivery log, or not any more.")
        return line


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
