"""Turns: of many first requests at a time a few begin, and of many answers a few are finished; who came first is next.

All that go step by step together would wait for nearly all of them; so each gets to its provider's call, and from its
answer to Vello, as if it had come almost alone, and meanwhile the next ones follow.
"""

import asyncio
from collections import deque
from typing import Final

AT_ONCE: Final = 4
"""Those that begin, and those that finish; one more for each CROWD that wait, whose commands then travel together."""
CROWD: Final = 16
LONGEST: Final = 0.5
"""Seconds after which one goes on without a turn: a store that is slow is no reason to be late."""


class Turn:
    """The right to begin, and once that has ended, a place in the line of those that finish."""

    __slots__ = ("_finishing", "_turns")

    def __init__(self, turns: "Turns | None", finishing: "Turns | None") -> None:
        self._turns = turns
        self._finishing = finishing

    async def resume(self) -> None:
        """Wait for a turn to finish what was begun, once; it is ended as well."""
        finishing, self._finishing = self._finishing, None
        if finishing and await finishing.wait():
            self._turns = finishing

    def end(self) -> None:
        """What is begun goes out with the next breath, or nothing is to be begun: let another one. May be repeated."""
        if self._turns:
            asyncio.get_running_loop().call_soon(self._turns.ended)
            self._turns = None

    def leave(self) -> None:
        """Nobody waits for what was begun any more: it needs no turn to be finished."""
        self._finishing = None
        self.end()


class Turns:
    """The turns of one process."""

    def __init__(self, finishing: "Turns | None" = None) -> None:
        self._finishing = finishing
        self._taken = 0
        self._waiting: deque[asyncio.Future[bool]] = deque()  # who waits no more stays until it is his turn

    async def take(self) -> Turn:
        """Wait for a turn, for LONGEST seconds at most."""
        return Turn(self if await self.wait() else None, self._finishing)

    async def wait(self) -> bool:
        """As `take`; whether it is a turn, and no end of patience."""
        if self._taken < AT_ONCE:
            self._taken += 1
            return True
        loop = asyncio.get_running_loop()
        mine: asyncio.Future[bool] = loop.create_future()
        self._waiting.append(mine)
        late = loop.call_later(LONGEST, _go, mine)
        self._call()
        try:
            return await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled() and mine.result():
                self.ended()
            raise
        finally:
            late.cancel()

    def ended(self) -> None:
        """One turn is over."""
        self._taken -= 1
        self._call()

    def _call(self) -> None:
        while self._waiting and self._taken < AT_ONCE + len(self._waiting) // CROWD:
            next_one = self._waiting.popleft()
            if not next_one.done():
                self._taken += 1
                next_one.set_result(True)


def _go(waiting: "asyncio.Future[bool]") -> None:
    if not waiting.done():
        waiting.set_result(False)
