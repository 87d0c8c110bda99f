"""Time limits that a process keeps which stood still for a while."""

import asyncio
from types import TracebackType
from typing import Final

HELD_UP: Final = 0.25
"""Seconds a timer is late when this process stood still; then what came meanwhile is read before time is over."""
GRACE: Final = 1.0
"""Seconds for that."""


class Limit:
    """As `asyncio.timeout`, but what came while this process stood still is not too late.

    It waits for nothing itself, so it is entered without `async`, in a task.
    """

    __slots__ = ("_cancelling", "_end", "_loop", "_over", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 - nothing else is entered by our code
        self._task, self._cancelling, self._over = task, task.cancelling(), False
        self._end = self._loop.time() + self._seconds
        self._timer: asyncio.Handle = self._loop.call_at(self._end, self._due)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        # Whoever else cancelled the task wants more than an end to this.
        if self._over and self._task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from error

    def _due(self) -> None:
        if self._loop.time() - self._end > HELD_UP:
            self._timer = self._loop.call_later(GRACE, self._end_it)
        else:
            self._timer = self._loop.call_soon(self._end_it)  # what this turn of the loop brought is in time

    def _end_it(self) -> None:
        self._over = True
        self._task.cancel()
