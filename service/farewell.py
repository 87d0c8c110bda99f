"""Taking a connection out of use: its upcoming meetings are moved or removed first, then it is forgotten.

It goes on over restarts: what is left to do is read from the ledger each time. Key: `vm:farewells` (connection -> how,
and how far), a week after the last step.
"""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, replace
from typing import Final, Literal

import structlog

from service.changes import Changes
from service.choices import DEFAULT
from service.connections import UnknownConnection
from service.entry import Entry, State
from service.ledger import Ledger
from service.oauth import Broker
from service.settings import Settings
from service.store import Store

How = Literal["keep", "move", "remove"]
SCAN: Final = 20_000
"""Records that are looked at in one step."""
LIFE: Final = 7 * 86_400
"""Seconds for which a farewell is remembered after its last step."""

_FAREWELLS = "vm:farewells"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Farewell:
    """How a connection leaves: `total` upcoming meetings it had, `left` of them, `stuck` of those have failed."""

    connection: str
    how: How
    to: str | None
    who: str
    at: int
    total: int
    left: int
    stuck: int = 0


class Farewells:
    """All connections that are being taken out of use."""

    def __init__(self, store: Store, ledger: Ledger, settings: Settings, broker: Broker, changes: Changes) -> None:
        self._store = store
        self._ledger = ledger
        self._settings = settings
        self._broker = broker
        self._changes = changes

    async def all(self) -> dict[str, Farewell]:
        """Every farewell that is under way, by connection."""
        rows = await self._store.execute("HGETALL", _FAREWELLS)
        return {key: Farewell(**json.loads(row)) for key, row in rows.items()}

    async def upcoming(self, connection: str) -> int:
        """How many meetings of a connection are still to come."""
        return len([entry async for entry in self._held(connection)])

    async def begin(self, connection: str, how: How, to: str | None, who: str) -> None:
        """Take a connection from all offices, give them `to` in its place, and begin with its meetings."""
        held = [entry async for entry in self._held(connection)]
        total = len(held)
        for office in self._settings.choices.using(connection):
            choice = self._settings.choices.own(office)
            if choice:
                shared = {name: value for name, value in choice.options.items() if name == "opens_before"}
                changed = choice.model_copy(update={"connection": to, "options": shared, "move": how != "keep"})
                await self._settings.choices.put(office, changed)
                await self._changes.note(who, "office", office, "set", {"connection": (connection, to)})
        if how != "keep":
            await self._move_what_stayed(connection, held)
        await self._keep(Farewell(connection, how, to, who, int(time.time()), total, total))
        await self._settings.announce(self._ledger)
        await self._ledger.unpark(connection)
        await self.step(connection)

    async def _move_what_stayed(self, connection: str, held: list[Entry]) -> None:
        """Have offices that chose another connection before take the meetings there that still stand on this one."""
        choices = self._settings.choices
        for wanted in {entry.wish.office for entry in held if entry.wish}:
            office = wanted if wanted and choices.own(wanted) else DEFAULT
            choice = choices.own(office)
            if choice and choice.connection not in (None, connection) and not choice.move:
                await choices.put(office, choice.model_copy(update={"move": True}))

    async def step(self, connection: str) -> Farewell | None:
        """Go on with one; None when there is none, or none any more because it is done."""
        row = await self._store.execute("HGET", _FAREWELLS, connection)
        if row is None:
            return None
        farewell, left, stuck = Farewell(**json.loads(row)), 0, 0
        if farewell.how != "keep":
            async for entry in self._held(connection):
                left, stuck = left + 1, stuck + (entry.state is State.FAILED)
                if entry.state is State.READY and not entry.unsettled:
                    await self._ledger.nudge(entry.record, "Its connection is being taken out of use.")
        farewell = replace(farewell, left=left, stuck=stuck)
        if left:
            await self._keep(farewell)
            return farewell
        await self.finish(connection, farewell.who)
        return None

    async def finish(self, connection: str, who: str) -> None:
        """Forget a connection and revoke its grant; what meetings it has stay at the provider."""
        await self._store.execute("HDEL", _FAREWELLS, connection)
        try:
            row = self._settings.connections.get(connection)
        except UnknownConnection:
            return
        try:
            source = self._broker.source(row, self._settings.connections.settings_of(row))
        except UnknownConnection:  # its adapter is not installed any more, so nobody could revoke anything
            source = None
        await self._settings.connections.remove(connection)
        await self._changes.note(who, "connection", connection, "removed", {"name": (row.name, None)})
        await self._settings.announce(self._ledger)
        if source and not self._settings.connections.holding(source.grant):
            await self._broker.forget(source)
        _log.info("connection_removed", connection=connection)

    async def round(self) -> None:
        """Go on with all of them."""
        for connection in await self.all():
            await self.step(connection)

    async def _keep(self, farewell: Farewell) -> None:
        row = json.dumps(asdict(farewell))
        await self._store.pipeline([("HSET", _FAREWELLS, farewell.connection, row), ("EXPIRE", _FAREWELLS, LIFE)])

    async def _held(self, connection: str) -> AsyncIterator[Entry]:
        """Entries of bookings to come that have something at a connection."""
        now, looked, after = int(time.time()), 0, (0, "")
        while looked < SCAN:
            rows = await self._ledger.page(after, 200)
            looked += len(rows.entries)
            for at, entry in rows.entries:
                ends = at + ((entry.wish.duration or 0) if entry.wish else 0)
                placed = [each for each in (entry.meeting, entry.intent, *entry.retired) if each]
                if ends > now and any(each.connection == connection for each in placed):
                    yield entry
            if rows.last is None:
                return
            after = rows.last
