"""A storm: bookings whose events come shuffled and doubled, while services, the store and the provider fail.

It ends by comparing Vello's last word on every booking with what stands at the provider and what the ledger says.
Bounded in events and time, on loopback only; every process it starts it also ends.
"""

import asyncio
import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from service.plan import key_of
from tests.events import START, record
from tests.processes import Service
from tests.servers import MemoryServer
from tests.stores import StoreServer
from tests.waiting import outage, wait_until

_TRIES = 400  # times Vello sends one event until it is taken
_CALM = 120.0  # seconds after the storm until everything must be settled


@dataclass(frozen=True)
class Plan:
    """How much of everything, and the seed from which all of it follows."""

    seed: int
    bookings: int
    services: int = 2
    kills: int = 4
    freezes: int = 2
    store_restarts: int = 1
    at_once: int = 16
    spread: float = 6.0
    """Seconds that may pass between two words about one booking."""


@dataclass
class Verdict:
    """What the storm counted; every field of `wrong` must be zero."""

    bookings: int = 0
    events: int = 0
    kills: int = 0
    freezes: int = 0
    store_restarts: int = 0
    provider_calls: int = 0
    seconds: float = 0.0
    wrong: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        wrong = {name: self.wrong[name] for name in ("lost", "duplicated", "orphaned", "stale", "wrong_time")}
        return (
            f"bookings {self.bookings}, events {self.events}, kills {self.kills}, freezes {self.freezes}, "
            f"store restarts {self.store_restarts}, provider calls {self.provider_calls}, "
            f"seconds {self.seconds:.0f}: " + ", ".join(f"{name} {count}" for name, count in wrong.items())
        )


class Booking:
    """One booking's words in the order Vello wrote them; the last one counts."""

    def __init__(self, chance: random.Random) -> None:
        self.data = record()
        self.words: list[tuple[str, dict[str, Any]]] = [("record.update_metadata", dict(self.data))]
        for version in range(2, chance.randint(2, 6)):
            kind = chance.choice(["moved", "moved", "cancelled", "asked"])
            changes: dict[str, Any] = {"version": version, "canceled": kind == "cancelled"}
            if kind == "moved":
                changes["time"] = START + 60 * chance.randint(1, 10_000)
            self.data |= changes
            said = {"moved": "record.updated", "cancelled": "record.cancelled", "asked": "record.update_metadata"}
            self.words.append((said[kind], dict(self.data)))
        self.deleted = chance.random() < 0.15
        if self.deleted:
            self.words.append(("record.deleted", {"id": self.data["id"]}))

    @property
    def wanted(self) -> int | None:
        """When a meeting is to stand, None if none is."""
        return None if self.deleted or self.data["canceled"] else int(self.data["time"])

    def told(self, chance: random.Random) -> list[tuple[str, dict[str, Any]]]:
        """The words as they arrive: some twice, some late."""
        told = [*self.words, *(word for word in self.words if chance.random() < 0.25)]
        if chance.random() < 0.5:
            chance.shuffle(told)
        return told


class Storm:
    """One run of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.chance = random.Random(plan.seed)  # noqa: S311 - it must be repeatable
        self.verdict = Verdict(bookings=plan.bookings)
        self.services: list[Service] = []

    async def run(self) -> Verdict:
        """Let it blow, wait for calm, compare."""
        began = time.monotonic()
        async with contextlib.AsyncExitStack() as stack:
            vendor = await stack.enter_async_context(MemoryServer())
            store = await stack.enter_async_context(StoreServer())
            for _ in range(self.plan.services):
                self.services.append(await stack.enter_async_context(self._service(store)))
            await self.services[0].connect(vendor.url)
            await vendor.faults(forgetful=True)
            bookings = [Booking(self.chance) for _ in range(self.plan.bookings)]
            troubles = asyncio.create_task(self._troubles(store, vendor))
            gate = asyncio.Semaphore(self.plan.at_once)
            await asyncio.gather(*[self._tell(booking, gate) for booking in bookings])
            await troubles
            await vendor.faults(forgetful=True)
            await self._calm(bookings)
            await self._compare(bookings, vendor)
            self.verdict.provider_calls = len(await vendor.calls())
        self.verdict.seconds = time.monotonic() - began
        return self.verdict

    def _service(self, store: StoreServer) -> Service:
        return Service(REDIS_URL=store.url, LEASE_SECONDS="1", LOG_LEVEL="critical", ANSWER_DEADLINE="1")

    async def _tell(self, booking: Booking, gate: asyncio.Semaphore) -> None:
        for kind, data in booking.told(self.chance):
            await outage(self.chance.uniform(0.0, self.plan.spread))
            async with gate:
                await self._deliver(kind, data)

    async def _deliver(self, kind: str, data: dict[str, Any]) -> None:
        """As Vello does: again and again until it was taken."""
        for _ in range(_TRIES):
            service = self.chance.choice(self.services)
            with contextlib.suppress(httpx.HTTPError):
                if (await service.say(kind, data)).status_code == 200:
                    self.verdict.events += 1
                    return
            await outage(0.05)
        raise AssertionError(f"{kind} was not taken in {_TRIES} tries")

    async def _troubles(self, store: StoreServer, vendor: MemoryServer) -> None:
        """All planned troubles, one after the other, spread over the storm; the provider's go on all the time."""
        plan = self.plan
        troubles: list[Callable[[], Awaitable[None]]] = []
        troubles += [self._kill] * plan.kills
        troubles += [self._freeze] * plan.freezes
        troubles += [lambda: self._restart(store)] * plan.store_restarts
        self.chance.shuffle(troubles)
        for trouble in troubles:
            await vendor.faults(**self._faults())
            await outage(self.chance.uniform(0.1, 0.6))
            await trouble()

    def _faults(self) -> dict[str, Any]:
        """Slow calls, so that what ends or freezes a service does so in the middle of one."""
        failures = [{"status": self.chance.choice([429, 500, 502, 503]), "times": self.chance.randint(1, 6)}]
        return {
            "delay": self.chance.choice([0.1, 0.4, 0.8]),
            "lose_answers": self.chance.choice([0, 3, 10]),
            "fail": failures if self.chance.random() < 0.4 else [],
            "forgetful": True,
        }

    async def _kill(self) -> None:
        victim = self.chance.choice(self.services)
        victim.kill()
        self.verdict.kills += 1
        await outage(self.chance.uniform(0.0, 1.5))
        await victim.start()

    async def _freeze(self) -> None:
        """Longer than a lease: when it thaws it is a zombie."""
        victim = self.chance.choice(self.services)
        assert victim.process
        victim.process.send_signal(signal.SIGSTOP)
        self.verdict.freezes += 1
        await outage(self.chance.uniform(1.5, 2.5))
        victim.process.send_signal(signal.SIGCONT)

    async def _restart(self, store: StoreServer) -> None:
        store.kill()
        self.verdict.store_restarts += 1
        await outage(self.chance.uniform(0.0, 1.0))
        await store.start()

    async def _calm(self, bookings: list[Booking]) -> None:
        """Wait until no record is pending any more."""

        async def settled() -> bool:
            answer = await self.services[0].request(
                "GET", "/api/v1/records", params={"state": "pending", "limit": 1}, headers=self.services[0].as_admin
            )
            return answer.status_code == 200 and not answer.json()["records"]

        for booking in bookings:  # what was given up under the storm is looked at again, as an admin would
            await self.services[0].admin("POST", f"/records/{booking.data['id']}/reconcile")
        await wait_until(settled, _CALM)

    async def _compare(self, bookings: list[Booking], vendor: MemoryServer) -> None:
        """Vello's last word against the provider and the ledger; nothing of the service's own counters counts."""
        standing: dict[str, list[dict[str, Any]]] = {}
        for meeting in await vendor.meetings():
            standing.setdefault(meeting["key"], []).append(meeting)
        wrong = self.verdict.wrong
        for booking in bookings:
            mine = standing.pop(key_of(booking.data["id"]), [])
            shown = (await self.services[0].admin("GET", f"/records/{booking.data['id']}")).json()
            wrong["duplicated"] += max(0, len(mine) - 1)
            if booking.wanted is None:
                wrong["orphaned"] += len(mine)
                wrong["stale"] += shown["state"] != "gone"
                continue
            wrong["lost"] += not mine
            wrong["wrong_time"] += any(meeting["start"] != booking.wanted for meeting in mine)
            wrong["stale"] += shown["state"] != "ready" or shown["meeting_id"] not in [one["id"] for one in mine]
        wrong["orphaned"] += sum(len(meetings) for meetings in standing.values())
