"""Taking a connection out of use: its upcoming meetings are moved or removed first, then it is forgotten.

It goes on over restarts: what is left to do is read from the offices and the ledger each time. Key: `vm:farewells`
(connection -> how, and how far), a week after the last step.
"""

import json
import time
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
"""Upcoming bookings that are looked at in one step; while there are more, a connection stays."""
LIFE: Final = 7 * 86_400
"""Seconds for which a farewell is remembered after its last step."""

_FAREWELLS = "vm:farewells"
_DAY = 86_400  # seconds back: a meeting that has been going on for longer is left where it is

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
        return len((await self._held(connection))[0])

    async def begin(self, connection: str, how: How, to: str | None, who: str) -> None:
        """Take a connection from all offices, give them `to` in its place, and begin with its meetings."""
        total = await self.upcoming(connection)
        await self._keep(Farewell(connection, how, to, who, int(time.time()), total, total))
        await self.step(connection)
        await self._ledger.unpark(connection)

    async def _take_from_offices(self, farewell: Farewell, held: list[Entry]) -> None:
        """Give the offices that choose the connection another one, those as well that chose it since."""
        choices, connection = self._settings.choices, farewell.connection
        using = choices.using(connection)
        for office in using:
            choice, version = choices.own(office), choices.version(office)
            if choice:
                shared = {name: value for name, value in choice.options.items() if name == "opens_before"}
                fields = {"connection": farewell.to, "options": shared, "move": farewell.how != "keep"}
                if await choices.replace(office, choice.model_copy(update=fields), version):
                    changed = {"connection": (connection, farewell.to)}
                    await self._changes.note(farewell.who, "office", office, "set", changed)
        stayed = farewell.how != "keep" and await self._move_what_stayed(connection, held)
        if using or stayed:
            await self._settings.announce(self._ledger)
            await self._ledger.unpark(connection)

    async def _move_what_stayed(self, connection: str, held: list[Entry]) -> bool:
        """Have offices that chose another connection before take the meetings there that still stand on this one."""
        choices, any_moved = self._settings.choices, False
        for wanted in {entry.wish.office for entry in held if entry.wish}:
            office = wanted if wanted and choices.own(wanted) else DEFAULT
            choice = choices.own(office)
            if choice and choice.connection not in (None, connection) and not choice.move:
                moving = choice.model_copy(update={"move": True})
                any_moved |= await choices.replace(office, moving, choices.version(office))
        return any_moved

    async def step(self, connection: str) -> Farewell | None:
        """Go on with one; None when there is none, or none any more because it is done."""
        row = await self._store.execute("HGET", _FAREWELLS, connection)
        if row is None:
            return None
        farewell = Farewell(**json.loads(row))
        try:
            self._settings.connections.get(connection)
        except UnknownConnection:
            await self._store.execute("HDEL", _FAREWELLS, connection)
            return None
        held, whole = await self._held(connection)
        await self._take_from_offices(farewell, held)
        if farewell.how == "keep":
            held, whole = [], True
        for entry in held:
            if entry.state is State.READY and not entry.unsettled:
                await self._ledger.nudge(entry.record, "Its connection is being taken out of use.")
        left = len(held) if whole else max(1, len(held))
        farewell = replace(farewell, left=left, stuck=sum(entry.state is State.FAILED for entry in held))
        if left:
            await self._keep(farewell)
            return farewell
        await self.finish(connection, farewell.who)
        return None

    async def finish(self, connection: str, who: str) -> None:
        """Revoke a connection's grant and forget it; what meetings it has stay at the provider.

        Where this is interrupted the connection is still there, and it can be done again.
        """
        connections = self._settings.connections
        try:
            row = connections.get(connection)
        except UnknownConnection:
            await self._store.execute("HDEL", _FAREWELLS, connection)
            return
        try:
            source = self._broker.source(row, connections.settings_of(row))
        except UnknownConnection:  # its adapter is not installed any more, so nobody could revoke anything
            source = None
        if source and [each.id for each in connections.holding(source.grant)] in ([], [connection]):
            await self._broker.forget(source)
        await connections.remove(connection)
        await self._changes.note(who, "connection", connection, "removed", {"name": (row.name, None)})
        await self._settings.announce(self._ledger)
        await self._store.execute("HDEL", _FAREWELLS, connection)
        _log.info("connection_removed", connection=connection)

    async def round(self) -> None:
        """Go on with all of them."""
        for connection in await self.all():
            await self.step(connection)

    async def _keep(self, farewell: Farewell) -> None:
        row = json.dumps(asdict(farewell))
        await self._store.pipeline([("HSET", _FAREWELLS, farewell.connection, row), ("EXPIRE", _FAREWELLS, LIFE)])

    async def _held(self, connection: str) -> tuple[list[Entry], bool]:
        """Entries of bookings to come that have something at a connection, and whether these are all of them."""
        now, looked, held = int(time.time()), 0, list[Entry]()
        after = (now - _DAY, "")
        while looked < SCAN:
            rows = await self._ledger.page(after, 200)
            looked += len(rows.entries)
            for at, entry in rows.entries:
                ends = at + ((entry.wish.duration or 0) if entry.wish else 0)
                placed = [each for each in (entry.meeting, entry.intent, *entry.retired) if each]
                if ends > now and any(each.connection == connection for each in placed):
                    held.append(entry)
            if rows.last is None:
                return held, True
            after = rows.last
        return held, False
