"""A storm: bookings whose events come shuffled and doubled, while services, the store and the vendors fail.

It ends by comparing Vello's last word on every booking with what stands. Bounded in events and time, on loopback
only; every process it starts it also ends.
"""

import asyncio
import contextlib
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.chaos.booking import Booking
from tests.chaos.google import Google
from tests.chaos.troubles import Troubles
from tests.chaos.vello import Vello
from tests.chaos.verdict import Verdict, judge
from tests.chaos.world import PUBLIC, Vendor, World
from tests.chaos.zoom import Zoom
from tests.waiting import outage, wait_until

_CALM = 150.0  # seconds after the storm until everything must be settled; the longest back-off is well below
_LATE = 0.7  # share of the time after which no new booking is made
_AGAIN = 0.1  # share of the bookings whose whole history comes once more near the end
_TWICE = 0.1  # share of the words that come twice at the same time
_UNHEARD = re.compile(r" POST /v2/spaces .*(came: (lost|hung)|nobody listens)$")  # a Google room's making
ROUGH: dict[str, Any] = {"refused": 0.07, "cut": 0.04, "lost": 0.08, "hung": 0.003, "delay": 0.4, "linger": 3.0}
"""Weather for all calls. No call happens later than a lease may end: a vendor that does what was asked after everybody
gave up on it cannot be told from one that does not."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything, and the seed from which it follows. `troubles` counts each kind."""

    seed: int
    bookings: int
    events: int = 0
    """As many at least; whole old histories come again until there were."""
    seconds: float = 10.0
    """Over which bookings and troubles are spread."""
    services: int = 2
    lease: float = 2.0
    forgetful: tuple[bool, ...] = (True, False)
    """One vendor for each."""
    zoom: Literal["app", "grant"] | None = None
    """And a Zoom, with an app of its own account or with a grant that is renewed."""
    google: str | None = None
    """And a Google, with meetings of this kind."""
    hosts: int = 1
    """Of each vendor; for each there are two offices."""
    troubles: dict[str, int] = field(default_factory=dict)
    weather: dict[str, Any] = field(default_factory=lambda: ROUGH)
    lasting: bool = False
    """The weather stays until everything is to be settled."""
    at_once: int = 24
    most: int = 6
    """Words Vello writes about one booking."""
    calm: float = _CALM
    source: Path | None = None
    """Where the services' code is, when it is not the installed one."""


class Storm:
    """One run of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._chance = random.Random(plan.seed)  # noqa: S311 - it must be repeatable
        self._gate = asyncio.Semaphore(plan.at_once)
        self._reconnected = 0

    async def run(self) -> Verdict:
        """Let it blow, wait for calm, judge."""
        plan, began = self._plan, time.monotonic()
        vendors = [Vendor(forgetful=flag) for flag in plan.forgetful]
        vendors += [Zoom(grant=plan.zoom == "grant")] if plan.zoom else []
        vendors += [Google(plan.google)] if plan.google else []
        world = World(plan.services, vendors, plan.lease, plan.source, plan.hosts)
        told = Vello(world.services, f"{PUBLIC}/webhooks/vello", self._chance)
        async with world, told as vello, self._tended(world):
            bookings = [self._booking(number, world) for number in range(plan.bookings)]
            troubles = Troubles(world, self._chance, plan.lease)
            for number, vendor in enumerate(world.vendors):
                await vendor.weather(**plan.weather, seed=plan.seed + number)
            async with asyncio.TaskGroup() as group:
                group.create_task(troubles.blow(plan.seconds, plan.troubles))
                group.create_task(self._tell(vello, bookings))
            happened = {"bookings": plan.bookings, "events": vello.taken, **self._counted(troubles)}
            befell, unheard = Counter[str](), 0
            for vendor in world.vendors:
                seen = await vendor.befell()
                befell.update(seen["befell"])
                unheard += sum(_UNHEARD.search(line) is not None for line in seen["story"])
                if not plan.lasting:
                    await vendor.weather()
            await self._calm(vello)
            for vendor in world.vendors:
                await vendor.weather()
            verdict = await judge(world, vello, bookings)
        verdict.befell, verdict.unheard = befell, unheard
        if plan.zoom == "grant":
            happened |= {"expiries": troubles.made["expiries"], "reconnected": self._reconnected}
        verdict.happened = happened | {"provider_calls": befell.total(), "seconds": round(time.monotonic() - began)}
        return verdict

    def _booking(self, number: int, world: World) -> Booking:
        chance = random.Random(f"{self._plan.seed}/{number}")  # noqa: S311 - it must be repeatable
        return Booking(chance, world.offices, self._plan.most)

    @contextlib.asynccontextmanager
    async def _tended(self, world: World) -> AsyncIterator[None]:
        """An admin looks every second whether an account must be connected again."""

        async def look() -> None:
            while True:
                await outage(1.0)
                self._reconnected += await world.tend()

        admin = asyncio.create_task(look())
        try:
            yield
        finally:
            admin.cancel()
            await asyncio.wait([admin])

    def _counted(self, troubles: Troubles) -> dict[str, int]:
        made = troubles.made
        services = {"kills": made["kills"], "stops": made["stops"], "freezes": made["freezes"]}
        store = {"store_full": made["full"], "store_read_only": made["read_only"] + made["alone"]}
        return services | {"store_restarts": made["restarts"]} | store

    async def _tell(self, vello: Vello, bookings: list[Booking]) -> None:
        """Every booking's words, then whole histories once more."""
        await asyncio.gather(*[self._arrive(vello, booking) for booking in bookings])
        again = [booking for booking in bookings if self._chance.random() < _AGAIN]
        missing = self._plan.events - vello.taken - sum(len(booking.words) for booking in again)
        while missing > 0:
            again.append(self._chance.choice(bookings))
            missing -= len(again[-1].words)
        await asyncio.gather(*[self._repeat(vello, booking) for booking in again])

    async def _arrive(self, vello: Vello, booking: Booking) -> None:
        arriving = booking.arriving()
        await outage(self._chance.uniform(0.0, self._plan.seconds * _LATE))
        for word in arriving:
            await outage(self._chance.uniform(0.0, self._plan.seconds * (1 - _LATE) / len(arriving)))
            async with self._gate:
                times = 2 if self._chance.random() < _TWICE else 1
                await asyncio.gather(*[vello.say(booking, word) for _ in range(times)])

    async def _repeat(self, vello: Vello, booking: Booking) -> None:
        async with self._gate:
            for word in booking.words:
                await vello.say(booking, word)

    async def _calm(self, vello: Vello) -> None:
        """Wait, without touching anything, until no record is pending; what still is then will be found stale.

        No service may be at work either: a zombie hands in what it did when its record is settled.
        """

        async def settled() -> bool:
            await outage(0.2)
            if await vello.working():
                return False
            answer = await vello.get("/api/v1/records", state="pending", limit=1)
            return answer.status_code == 200 and not answer.json()["records"]

        with contextlib.suppress(AssertionError):
            await wait_until(settled, self._plan.calm)
