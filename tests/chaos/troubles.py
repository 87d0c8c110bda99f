"""What happens to services and to their store, one thing after the other."""

import asyncio
import contextlib
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from service.store import Store
from tests.chaos.world import World
from tests.waiting import outage

Trouble = Callable[[], Awaitable[None]]


class Troubles:
    """Makes trouble in a world and counts it."""

    def __init__(self, world: World, chance: random.Random, lease: float) -> None:
        self._world = world
        self._chance = chance
        self._lease = lease
        self.made: Counter[str] = Counter()

    async def blow(self, seconds: float, plan: dict[str, int]) -> None:
        """As many of each trouble as `plan` says, spread over `seconds`: those of a kind one after the other."""
        of_services = self._drawn(plan, {"kills": self._kill, "freezes": self._freeze, "stops": self._stop})
        of_store = self._drawn(
            plan, {"restarts": self._restart, "full": self._full, "read_only": self._read_only, "alone": self._alone}
        )
        of_access = self._drawn(plan, {"expiries": self._expire})
        strands = (of_services, of_store, of_access)
        await asyncio.gather(*[self._spread(strand, seconds) for strand in strands])

    def _drawn(self, plan: dict[str, int], troubles: dict[str, Trouble]) -> list[tuple[str, Trouble]]:
        drawn = [(name, trouble) for name, trouble in troubles.items() for _ in range(plan.get(name, 0))]
        self._chance.shuffle(drawn)
        return drawn

    async def _spread(self, troubles: Sequence[tuple[str, Trouble]], seconds: float) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        for number, (name, trouble) in enumerate(troubles):
            at = began + (number + self._chance.random()) * seconds / len(troubles)
            await outage(max(0.05, at - clock()))
            await trouble()
            self.made[name] += 1

    async def _kill(self) -> None:
        victim = self._world.one(self._chance)
        victim.kill()
        await outage(self._chance.uniform(0.0, 1.5))
        await self._world.revive(victim)

    async def _stop(self) -> None:
        """As at a new release: SIGTERM, and kill -9 when that takes too long."""
        victim = self._world.one(self._chance)
        with contextlib.suppress(subprocess.TimeoutExpired):
            await victim.stop()
        victim.kill()
        await self._world.revive(victim)

    async def _freeze(self) -> None:
        """Longer than a lease: when it thaws it is a zombie."""
        victim = self._world.one(self._chance)
        assert victim.process
        victim.process.send_signal(signal.SIGSTOP)
        await outage(self._lease * self._chance.uniform(1.3, 2.0))
        victim.process.send_signal(signal.SIGCONT)

    async def _expire(self) -> None:
        for vendor in self._world.vendors:
            await vendor.expire()

    async def _restart(self) -> None:
        self._world.store.kill()
        await outage(self._chance.uniform(0.0, 2.0))
        await self._world.store.start()

    async def _full(self) -> None:
        await self._lasting(("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"))

    async def _read_only(self) -> None:
        """A replica of nobody: it keeps its data and takes no writes."""
        await self._lasting(("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"))

    async def _alone(self) -> None:
        """A primary that writes only with replicas, and has lost them."""
        await self._lasting(
            ("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0")
        )

    async def _lasting(self, begin: tuple[str, ...], end: tuple[str, ...]) -> None:
        store = await Store.open(self._world.store.url, patience=60.0)
        try:
            await store.execute(*begin)
            await outage(self._chance.uniform(0.5, 4.0))
            await store.execute(*end)
        finally:
            await store.close()
