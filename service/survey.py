"""Looks at everything that may need a person, in as many round trips as there are kinds of things, not of bookings."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from providers.base import DAY
from service.budget import Budgets
from service.clock import skew
from service.connections import Connection, Health, UnknownConnection
from service.grants import Source
from service.lacking import lacking
from service.ledger import Ledger
from service.matters import Condition, Matter, Silence, matters
from service.oauth import Broker
from service.settings import Settings
from service.store import Store
from service.vault import Damaged, UnknownKey


@dataclass(frozen=True, slots=True)
class Outlook:
    """What needs a person, and the names of the connections that work, by id."""

    matters: tuple[Matter, ...]
    working: Mapping[str, str]


class Survey:
    """Of connections only those count that an office chose or that bookings wait for."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        settings: Settings,
        broker: Broker,
        budgets: Budgets,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._settings = settings
        self._connections = settings.connections
        self._broker = broker
        self._budgets = budgets
        self._clock = clock

    async def look(self, silences: Mapping[str, Silence] | None = None) -> Outlook:
        """How everything is now. Raises: StoreUnavailable."""
        await self._settings.load()
        conditions = await self._conditions()
        shortfall = await lacking(self._store, self._clock())
        ahead = await skew(self._store)
        found = matters(conditions, shortfall, self._clock(), skew=ahead, silences=silences)
        working = {each.id: each.name for each in conditions if each.usable and each.health.state == "ready"}
        return Outlook(tuple(found), working)

    async def _conditions(self) -> list[Condition]:
        health = await self._connections.health()
        rows = self._connections.all()
        waiting = dict(zip((row.id for row in rows), await self._ledger.waiting([row.id for row in rows]), strict=True))
        used = [row for row in rows if waiting[row.id] or self._settings.choices.using(row.id)]
        sources, unusable = self._sources(used)
        allowed = await self._broker.allowed(*(source.grant for source in sources.values() if source))
        left = await self._left([row for row in used if row.id not in unusable])
        found = []
        for row in used:
            state, source = health.get(row.id, Health()), sources.get(row.id)
            ends_at, idle_for = await self._grant(row, source)
            found.append(
                Condition(
                    row.id,
                    row.name,
                    state,
                    row.company,
                    usable=row.id not in unusable,
                    waiting=waiting[row.id],
                    lacking=bool(source and allowed[source.grant].missing(source.vendor.oauth)),
                    ends_at=ends_at,
                    idle_for=idle_for,
                    left=left.get(row.id, 1.0),
                )
            )
        return found

    def _sources(self, rows: list[Connection]) -> tuple[dict[str, Source | None], set[str]]:
        """Where each connection's tokens come from, and which ones cannot be read here."""
        sources: dict[str, Source | None] = {}
        unusable = set()
        for row in rows:
            try:
                sources[row.id] = self._broker.source(row, self._connections.settings_of(row))
            except (UnknownConnection, UnknownKey, Damaged):
                unusable.add(row.id)
        return sources, unusable

    async def _grant(self, row: Connection, source: Source | None) -> tuple[int | None, float]:
        """When an access that a person gave ends by itself, and for how many seconds it was not renewed."""
        if not row.grant or source is None:
            return None, 0.0
        grant, life = await self._broker.look(source), self._connections.settings_of(row).access_life
        if not grant.version or grant.dead:
            return None, 0.0
        return grant.connected_at + life if life else None, grant.idle_for

    async def _left(self, rows: list[Connection]) -> dict[str, float]:
        """Which part of the day is left of each connection's scarcest host, where the vendor counts days."""
        counted = {row.id: known for row in rows if (known := self._connections.budget(row.id))}
        counted = {id_: known for id_, known in counted.items() if known[1].seconds >= DAY}
        left = await self._budgets.left([*counted.values()])
        parts = {}
        for (id_, (_, budget)), hosts in zip(counted.items(), left, strict=True):
            capabilities = self._connections.capabilities(id_)
            if capabilities and not capabilities.needs_host:  # others' hosts of the account are theirs
                _, own = self._connections.host_of(id_, None)
                hosts = {host: count for host, count in hosts.items() if host == own}
            parts[id_] = min(hosts.values(), default=budget.per_host) / budget.per_host
        return parts
