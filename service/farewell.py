"""Taking a connection out of use: its upcoming meetings are moved or removed first, then it is forgotten.

It goes on over restarts: what is left to do is read from the offices and the ledger each time. Key: `vm:farewells`
(connection -> how, and how far), a week after the last step.
"""

import asyncio
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
from service.vello import MAX_DURATION

How = Literal["keep", "move", "remove"]
SCAN: Final = 20_000
"""Bookings that are looked at in one step; the next one goes on behind them."""
BREATH: Final = 0.002
"""Seconds between two pages of bookings, so that a long look leaves room for what customers wait for."""
LIFE: Final = 7 * 86_400
"""Seconds for which a farewell is remembered after its last step."""

_FAREWELLS = "vm:farewells"
_DAY = 86_400  # seconds back: a meeting that has been going on for longer is left where it is

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Farewell:
    """How a connection leaves: `total` upcoming meetings it had, `left` of them, `stuck` of those have failed.

    A look at all bookings takes several steps when there are many: `after` is where it goes on (None: it begins), with
    `found` meetings so far, `failed` of those.
    """

    connection: str
    how: How
    to: str | None
    who: str
    at: int
    total: int
    left: int
    stuck: int = 0
    after: tuple[int, str] | None = None
    found: int = 0
    failed: int = 0


class Farewells:
    """All connections that are being taken out of use."""

    def __init__(
        self, store: Store, ledger: Ledger, settings: Settings, broker: Broker, changes: Changes, scan: int = SCAN
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._settings = settings
        self._broker = broker
        self._changes = changes
        self._scan = scan

    async def all(self) -> dict[str, Farewell]:
        """Every farewell that is under way, by connection."""
        rows = await self._store.execute("HGETALL", _FAREWELLS)
        return {key: _farewell(row) for key, row in rows.items()}

    async def upcoming(self, connection: str) -> int:
        """How many meetings of a connection are still to come; 0 only after a look at every booking.

        Where there are more than SCAN bookings it may have more: the look ends behind the first SCAN that have any.
        """
        held, after = await self._held(connection, None)
        while after is not None and not held:
            held, after = await self._held(connection, after)
        return len(held)

    async def begin(self, connection: str, how: How, to: str | None, who: str) -> None:
        """Remember how a connection leaves, and take the first step; a crash in between leaves nothing half done."""
        total = await self.upcoming(connection)
        await self._keep(Farewell(connection, how, to, who, int(time.time()), total, total))
        await self.step(connection)

    async def step(self, connection: str) -> Farewell | None:
        """Go on with one; None when there is none, or none any more because it is done."""
        row = await self._store.execute("HGET", _FAREWELLS, connection)
        if row is None:
            return None
        farewell = _farewell(row)
        try:
            self._settings.connections.get(connection)
        except UnknownConnection:
            await self._store.execute("HDEL", _FAREWELLS, connection)
            return None
        released = await self._release(farewell)
        if farewell.how == "keep":
            await self.finish(connection, farewell.who)
            return None
        held, last = await self._held(connection, farewell.after)
        if await self._move_what_stayed(connection, held) or released:
            await self._settings.announce(self._ledger)
            await self._ledger.unpark(connection)
        for entry in held:
            if entry.state is State.READY and not entry.unsettled:
                await self._ledger.nudge(entry.record, "Its connection is being taken out of use.")
        found = farewell.found + len(held)
        failed = farewell.failed + sum(entry.state is State.FAILED for entry in held)
        if last is None and not found:
            await self.finish(connection, farewell.who)
            return None
        if last is None:
            farewell = replace(farewell, left=found, stuck=failed, after=None, found=0, failed=0)
        else:  # more bookings than one step looks at: it is done only when all were looked at
            farewell = replace(farewell, left=max(farewell.left, found, 1), after=last, found=found, failed=failed)
        farewell = replace(farewell, total=max(farewell.total, farewell.left))
        await self._keep(farewell)
        return farewell

    async def _release(self, farewell: Farewell) -> bool:
        """Give the offices that chose the connection the other one, or none; True when there were any."""
        choices, connection = self._settings.choices, farewell.connection
        offices = choices.using(connection)
        for office in offices:
            choice = choices.own(office)
            if choice:
                shared = {name: value for name, value in choice.options.items() if name == "opens_before"}
                update = {"connection": farewell.to, "options": shared, "move": farewell.how != "keep"}
                # Where somebody chose meanwhile, the next step sees what.
                if await choices.replace(office, choice.model_copy(update=update), choices.version(office)):
                    fields = {"connection": (connection, farewell.to)}
                    await self._changes.note(farewell.who, "office", office, "set", fields)
        return bool(offices)

    async def _move_what_stayed(self, connection: str, held: list[Entry]) -> bool:
        """Have offices that chose another connection before take the meetings there that still stand on this one."""
        choices, moved = self._settings.choices, False
        for office in {self._served_by(entry) for entry in held if entry.wish}:
            choice = choices.own(office)
            if choice and choice.connection not in (None, connection) and not choice.move:
                changed = choice.model_copy(update={"move": True})
                moved = await choices.replace(office, changed, choices.version(office)) or moved
        return moved

    def _served_by(self, entry: Entry) -> str:
        """The office whose choice serves a record."""
        office = entry.wish.office if entry.wish else None
        own = self._settings.choices.own(office) if office else None
        return office if office and own and own is self._settings.choice_of(entry) else DEFAULT

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

    async def _held(self, connection: str, after: tuple[int, str] | None) -> tuple[list[Entry], tuple[int, str] | None]:
        """Which of the next SCAN bookings to come have something at a connection, and where to go on if at all."""
        now, looked, held = int(time.time()), 0, list[Entry]()
        after = after or (now - MAX_DURATION, "")
        while looked < self._scan:
            rows = await self._ledger.page(after, min(200, self._scan))
            if rows.last is None:
                return held, None
            await asyncio.sleep(BREATH)
            looked, after = looked + len(rows.entries), rows.last
            for at, entry in rows.entries:
                ends = at + ((entry.wish.duration or 0) if entry.wish else 0)
                placed = [each for each in (entry.meeting, entry.intent, *entry.retired) if each]
                if ends > now and any(each.connection == connection for each in placed):
                    held.append(entry)
        return held, after


def _farewell(row: str) -> Farewell:
    fields = json.loads(row)
    after = fields.pop("after", None)
    return Farewell(**fields, after=(int(after[0]), str(after[1])) if after else None)
