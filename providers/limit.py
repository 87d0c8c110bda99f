"""Time limits that a process keeps which stood still for a while."""

import asyncio
from types import TracebackType
from typing import Final

HELD_UP: Final = 0.25
"""Seconds a timer is late when this process stood still; then what came meanwhile is read before time is over."""
GRACE: Final = 1.0
"""Seconds for that."""


class Limit:
    """As `asyncio.timeout`, but what came while this process stood still is not too late."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._bound = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        await self._bound.__aenter__()
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + self._seconds
        self._timer = self._loop.call_at(self._end, self._over)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._bound.__aexit__(kind, error, trace)

    def _over(self) -> None:
        now = self._loop.time()
        self._bound.reschedule(now + GRACE if now - self._end > HELD_UP else now)
