"""One call of a provider's verb: let through by the connection's gate and room, bounded in time, and observed.

A connection has room for a number of calls at a time, counted apart for what Vello waits for and for background work,
so that one that hangs holds up nobody else. A call waits for its room a moment; one that would wait longer is put back,
each a little later than the one before, so that they come when there is room and not all at once. Of many that Vello
waits for, a few at a time get from the decision to the call, first come, first served: else all would be as late as the
last.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, TypeVar

from providers.base import OutcomeUnknown, TemporaryError
from providers.limit import Limit
from service.budget import Budgets, Purse
from service.connections import Connections
from service.entry import Entry
from service.gate import Gate, Held, Passage
from service.observer import Observer
from service.plan import Action
from service.store import StoreUnavailable
from service.turns import Turn

CALL_LIMIT: Final = 60.0
"""Seconds one verb may take, however many requests it sends."""
INLINE_ROOM: Final = 256
"""Calls of one connection in flight at a time that Vello waits for, in one process."""
BACKGROUND_ROOM: Final = 64
"""The same for background work."""
PATIENCE: Final = 1.0
"""Seconds a call waits for its room, at most."""
LONGEST_QUEUE: Final = 60.0
"""Seconds after which what found no room is tried again, at most."""

_Answer = TypeVar("_Answer")


class Room:
    """Places for a number of calls at a time, and how long one takes as a rule."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._free = asyncio.Semaphore(places)
        self._began: dict[object, float] = {}  # in the order in which they began
        self._waiting = 0
        self._typical = 0.1  # seconds
        self._last = 0.0  # when the last of those that were put back comes

    @property
    def full(self) -> bool:
        """Whether the next one has to wait."""
        return self._free.locked()

    async def take(self) -> object:
        """Take one place, to be given back. Raises Held when none will be free in a moment."""
        if self.full:
            await self._wait()
        else:
            await self._free.acquire()
        call = object()
        self._began[call] = time.monotonic()
        return call

    def give_back(self, call: object) -> None:
        """The place that `take` answered is free again."""
        self._typical += (time.monotonic() - self._began.pop(call) - self._typical) / 8
        self._free.release()

    async def _wait(self) -> None:
        if (self._waiting + 1) * self._share() > PATIENCE:
            raise self._full()
        self._waiting += 1
        try:
            async with asyncio.timeout(PATIENCE * random.uniform(0.25, 1.0)):  # noqa: S311 - not all of them at once
                await self._free.acquire()
        except TimeoutError:
            raise self._full() from None
        finally:
            self._waiting -= 1

    def _share(self) -> float:
        """Seconds after which a place becomes free as a rule; a call that hangs counts by its age."""
        now = time.monotonic()
        return max(self._typical, now - next(iter(self._began.values()), now)) / self._places

    def _full(self) -> Held:
        now = time.monotonic()
        self._last = min(max(self._last, now) + self._share(), now + LONGEST_QUEUE)
        wait = (self._last - now) * random.uniform(0.75, 1.25)  # noqa: S311 (jitter is no secret)
        return Held("As many calls of the connection as may be are in flight", max(wait, 0.1))


@dataclass(slots=True)
class Permit:
    """The right to call a connection once: its gate's passage, and the purse that the call was drawn from."""

    passage: Passage
    purse: Purse | None = None
    turn: Turn | None = None
    used: bool = False

    def begun(self) -> None:
        """All is written down and the call goes out with the next breath: it is another one's turn."""
        self.used = True
        if self.turn:
            self.turn.end()

    async def answered(self) -> None:
        """The call has been answered: finish in turn."""
        if self.turn:
            await self.turn.resume()

    @property
    def connection(self) -> str:
        """Which connection may be called."""
        return self.passage.connection


class _Permitted:
    """Holds a passage, a place and what was drawn. A class, not a generator: this is the hot path."""

    def __init__(self, calls: "Calls", gate: Gate, room: Room, asked: tuple[str, Purse | None, Turn | None]) -> None:
        self._calls, self._gate, self._room, self._asked = calls, gate, room, asked
        self._place: object | None = None

    async def __aenter__(self) -> Permit:
        connection, purse, turn = self._asked
        passage = await self._gate.enter(connection)
        if turn and self._room.full:
            turn.end()
        self._permit = Permit(passage, None, turn)
        try:
            self._place = await self._room.take()
            await self._calls.draw(self._permit, purse)
        except BaseException:  # whatever it is, nothing stays taken
            await self._leave()
            raise
        return self._permit

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._permit.used:
                await self._calls.nothing_came(self._permit, spent=False)
        finally:
            await self._leave()

    async def _leave(self) -> None:
        if self._place is not None:
            self._room.give_back(self._place)
        with contextlib.suppress(StoreUnavailable):  # a trial that nobody ends is over after a while
            await self._gate.leave(self._permit.passage)


class Calls:
    """Lets runs through to providers."""

    def __init__(
        self,
        gate: Gate,
        budgets: Budgets,
        observer: Observer,
        *,
        inline: int = INLINE_ROOM,
        background: int = BACKGROUND_ROOM,
    ) -> None:
        self.observer = observer
        self._gate = gate
        self._budgets = budgets
        self._places = {True: inline, False: background}
        self._rooms: dict[tuple[str, bool], Room] = {}

    async def able(self, connections: Connections, action: Action) -> tuple[str, ...]:
        """The hosts of `action` who may get a meeting today. Raises StoreUnavailable."""
        return await self._budgets.able(connections, action)

    def likely(self, connection: str) -> bool:
        """Whether a call that Vello waits for may begin at once, as far as this process knows without a look."""
        return self._gate.was_closed(connection) and not self._room(connection, inline=True).full

    def permit(
        self, connection: str, purse: Purse | None, *, inline: bool, turn: Turn | None = None
    ) -> AbstractAsyncContextManager[Permit]:
        """The right to call `connection` once, drawn from `purse`, before anything is begun.

        `turn` ends when the call begins, or has to wait. Entering it raises: Held, Spent.
        """
        return _Permitted(self, self._gate, self._room(connection, inline), (connection, purse, turn))

    async def draw(self, permit: Permit, purse: Purse | None) -> None:
        """Draw a call from `purse`, for `permit` to give back. Raises Spent."""
        if purse:
            await self._budgets.draw(purse)
            permit.purse = purse

    async def call(
        self, entry: Entry, verb: str, connection: str, provider: str, answer: Awaitable[_Answer]
    ) -> _Answer:
        """Wait for one verb's answer. Raises OutcomeUnknown at the limit, else what the verb raises."""
        with self.observer.call(entry.record, entry.attempts + 1, connection, provider, verb, entry.realm):
            try:
                with Limit(CALL_LIMIT):
                    return await answer
            except TimeoutError:
                raise OutcomeUnknown(f"The provider did not answer within {CALL_LIMIT:.0f} seconds.") from None

    async def probe(self, connection: str, provider: str, answer: Awaitable[_Answer], verb: str = "probe") -> _Answer:
        """Wait for the answer to what belongs to no record. Raises TemporaryError at the limit, as `call`."""
        with self.observer.call(None, 1, connection, provider, verb):
            try:
                with Limit(CALL_LIMIT):
                    return await answer
            except TimeoutError:
                raise TemporaryError(f"The provider did not answer within {CALL_LIMIT:.0f} seconds.") from None

    async def well(self, permit: Permit) -> None:
        """The provider answered: its gate closes, or stays closed."""
        with contextlib.suppress(StoreUnavailable):  # what the call did is to be committed all the same
            await self._gate.well(permit.passage)

    async def unwell(self, permit: Permit) -> bool:
        """The provider did not answer; True when it is left alone from now on."""
        with contextlib.suppress(StoreUnavailable):
            return await self._gate.unwell(permit.passage)
        return False

    async def nothing_came(self, permit: Permit, *, spent: bool) -> None:
        """The call did nothing, because the vendor allows none today if `spent`; it is given back once."""
        purse, permit.purse = permit.purse, None
        if purse is None:
            return
        with contextlib.suppress(StoreUnavailable):  # one call fewer today
            await (self._budgets.spent if spent else self._budgets.give_back)(purse)

    def _room(self, connection: str, inline: bool) -> Room:
        key = (connection, inline)
        if key not in self._rooms:
            self._rooms[key] = Room(self._places[inline])
        return self._rooms[key]
