"""Bookings that never rest: every event is sent until it is taken, as Vello does, whatever happens to the store."""

import asyncio
from collections import Counter
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import httpx

from service.plan import key_of
from tests.events import START, record
from tests.processes import Service
from tests.servers import MemoryServer
from tests.waiting import outage, wait_until

_TRIES = 600


class Flow:
    """Asks for a link of each booking, then moves it again and again until the flow is left."""

    def __init__(self, service: Service, bookings: int = 12) -> None:
        self._service = service
        self._bookings = [record() for _ in range(bookings)]
        self._stop = False
        self._tasks: list[asyncio.Task[None]] = []
        self.answers: Counter[int] = Counter()
        """How many answers had which status."""

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._tell(data)) for data in self._bookings]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop = True
        if error:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=bool(error))

    async def goes_on(self, events: int = 30, timeout: float = 30.0) -> None:  # noqa: ASYNC109 (fails the test)
        """Come back when that many more events were taken."""
        goal = self.answers[200] + events
        await wait_until(lambda: self.answers[200] >= goal, timeout)

    async def is_refused(self, timeout: float = 20.0) -> None:  # noqa: ASYNC109 (fails the test)
        """Come back when an event was answered with 503."""
        before = self.answers[503]
        await wait_until(lambda: self.answers[503] > before, timeout)

    async def check(self, vendor: MemoryServer) -> None:
        """After the flow: each booking has one meeting, at the time of the last event that was taken."""
        assert set(self.answers) <= {200, 503}
        for data in self._bookings:
            assert (await self._service.settled(data["id"]))["state"] == "ready"
        standing = sorted((meeting["key"], meeting["start"]) for meeting in await vendor.meetings())
        assert standing == sorted((key_of(data["id"]), data["time"]) for data in self._bookings)

    async def _tell(self, data: dict[str, Any]) -> None:
        await self._deliver("record.update_metadata", data)
        while not self._stop:
            data |= {"version": data["version"] + 1, "time": START + 60 * data["version"]}
            await self._deliver("record.updated", data)

    async def _deliver(self, kind: str, data: dict[str, Any]) -> None:
        for _ in range(_TRIES):
            with suppress(httpx.HTTPError):
                status = (await self._service.say(kind, data)).status_code
                self.answers[status] += 1
                if status == 200:
                    return
            await outage(0.1)
        raise AssertionError(f"{kind} was not taken in {_TRIES} tries")
