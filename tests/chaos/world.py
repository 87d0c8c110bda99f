"""What a storm blows over: services, their store and the vendors, each a process of its own."""

import random
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Self

import httpx

from tests.chaos.booking import Office
from tests.processes import Service
from tests.servers import MemoryServer
from tests.stores import StoreServer

PUBLIC = "http://meetings.example"
_REVIVALS = 30  # starts of one service; a service whose store is away ends, and whoever runs it starts it again


class Vendor(MemoryServer):
    """A meeting server in the storm's weather; a forgetful one knows no key and makes a meeting at every create."""

    module = "tests.chaos.weather"

    def __init__(self, *, forgetful: bool) -> None:
        super().__init__()
        self.forgetful = forgetful

    @property
    def environment(self) -> dict[str, str]:
        """What services must know of it."""
        return {}

    @property
    def connection(self) -> dict[str, Any]:
        """What it is connected by."""
        return {"provider": "memory", "url": self.url}

    async def connect(self, service: Service) -> str:
        """Connect it; answers the connection's id."""
        made = await service.admin("POST", "/connections", json=self.connection)
        return str(made.json()["id"])

    async def expire(self) -> None:
        """End the access that it gave out; whoever has it must renew it."""

    async def prepare(self, _: list[str]) -> None:
        """Make it what it is, with these hosts."""
        await self.faults(forgetful=self.forgetful)

    async def weather(self, **weather: Any) -> None:
        """What befalls calls from now on."""
        (await self.request("PUT", "/weather", json=weather)).raise_for_status()

    async def junk(self) -> list[str]:
        """Calls that no vendor should get."""
        return []

    async def befell(self) -> dict[str, Any]:
        """What befell calls, in figures and as a story."""
        befell: dict[str, Any] = (await self.request("GET", "/weather")).json()
        return befell


class World:
    """Made of `services` processes from `source` (absent: what is installed), one store, and vendors.

    Each vendor has so many `hosts`, with an office for each kind of link.
    """

    def __init__(
        self, services: int, vendors: Sequence[Vendor], lease: float, source: Path | None = None, hosts: int = 1
    ) -> None:
        self.store = StoreServer()
        self.vendors = vendors
        self.services = [self._service(lease, source) for _ in range(services)]
        self.offices = [
            Office(vendor, link, f"host-{host}@example.org")
            for vendor in range(len(vendors))
            for host in range(hosts)
            for link in ("direct", "hosted")
        ]
        self._stack = AsyncExitStack()

    def _service(self, lease: float, source: Path | None) -> Service:
        environment = {"PUBLIC_URL": PUBLIC, "LEASE_SECONDS": str(lease), "ANSWER_DEADLINE": "1"}
        environment |= {"REDIS_URL": self.store.url, "LOG_LEVEL": "critical"}
        environment |= {"PYTHONPATH": str(source)} if source else {}
        return Service(log=None, **environment)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.store)
            for vendor in self.vendors:
                await stack.enter_async_context(vendor)
                for service in self.services:
                    service.environment |= vendor.environment
            for service in self.services:
                await stack.enter_async_context(service)
            connections = []
            for vendor in self.vendors:
                await vendor.prepare(sorted({office.host for office in self.offices}))
                connections.append(await vendor.connect(self.services[0]))
            for office in self.offices:
                choice = {"connection": connections[office.vendor], "link": office.link, "default_host": office.host}
                (await self.services[0].admin("PUT", f"/offices/{office.id}", json=choice)).raise_for_status()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def tend(self) -> int:
        """Connect again what a person must connect again, as an admin does who looks; answers how often that worked."""
        done = 0
        with suppress(httpx.HTTPError, AssertionError, KeyError):  # something is away: they look again
            rows = (await self.services[0].admin("GET", "/connections")).json()["connections"]
            dead = {row["provider"] for row in rows if row["state"] == "reconnect"}
            for vendor in self.vendors:
                if vendor.connection["provider"] in dead:
                    await vendor.connect(self.services[0])
                    done += 1
        return done

    async def revive(self, service: Service) -> None:
        """Start a service again and again until it stays."""
        for _ in range(_REVIVALS):
            try:
                await service.start()
            except AssertionError:  # its store was away
                service.kill()
            else:
                return
        raise AssertionError(f"a service did not start in {_REVIVALS} tries")

    def one(self, chance: random.Random) -> Service:
        """Any of the services."""
        return chance.choice(self.services)
