"""Turns: of many first requests at a time a few begin, and whoever came first is next.

All that go step by step together would wait for nearly all of them; so each gets to its provider's call as if it had
come almost alone, and meanwhile the next ones begin.
"""

import asyncio
from collections import deque
from typing import Final

AT_ONCE: Final = 4
"""Those that begin at a time; one more for each CROWD that wait, whose commands then travel to the store together."""
CROWD: Final = 16
LONGEST: Final = 0.5
"""Seconds after which one begins without a turn: a store that is slow is no reason to be late."""


class Turn:
    """The right to begin."""

    __slots__ = ("_turns",)

    def __init__(self, turns: "Turns | None") -> None:
        self._turns = turns

    def end(self) -> None:
        """What is begun goes out with the next breath, or nothing is to be begun: let another one. May be repeated."""
        if self._turns:
            asyncio.get_running_loop().call_soon(self._turns.ended)
            self._turns = None


class Turns:
    """The turns of one process."""

    def __init__(self) -> None:
        self._taken = 0
        self._waiting: deque[asyncio.Future[bool]] = deque()  # who waits no more stays until it is his turn

    async def take(self) -> Turn:
        """Wait for a turn, for LONGEST seconds at most."""
        if self._taken < AT_ONCE:
            self._taken += 1
            return Turn(self)
        loop = asyncio.get_running_loop()
        mine: asyncio.Future[bool] = loop.create_future()
        self._waiting.append(mine)
        late = loop.call_later(LONGEST, _go, mine)
        self._call()
        try:
            return Turn(self if await mine else None)
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
