"""The only place where tests sleep: until something is so, or for an outage whose length is the point."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_POLL = 0.01
_TURN = 0.5  # seconds of one look that count at most: a machine that stands still is nobody's fault


async def wait_until(
    predicate: Callable[[], bool | Awaitable[bool]],
    timeout: float = 60.0,  # noqa: ASYNC109 (a bound that fails the test, nothing to compose)
) -> None:
    """Return as soon as `predicate` is true; fail after `timeout` seconds."""
    left, clock = timeout, asyncio.get_running_loop().time
    while True:
        began = clock()
        answer = predicate()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        if left < 0:
            raise AssertionError(f"still not so after {timeout:g} seconds")
        await asyncio.sleep(_POLL)
        left -= min(clock() - began, _TURN)


async def outage(seconds: float) -> None:
    """Let an outage last."""
    await asyncio.sleep(seconds)


def stand_still(monkeypatch: "pytest.MonkeyPatch", seconds: float) -> None:
    """Have this process go on as one does that was frozen for so long: all its timers are due, nothing else came."""
    clock = time.monotonic
    of = time.clock_gettime
    monkeypatch.setattr(time, "monotonic", lambda: clock() + seconds)
    monkeypatch.setattr(time, "clock_gettime", lambda which: of(which) + seconds)


async def closed(server: asyncio.Server) -> None:
    """Close a server once all who came are let in, so that each has a task that sees him out.

    Python 3.11 forgets, and leaves open, whom it lets in when the server is closed already.
    """
    for listener in server.sockets:
        asyncio.get_running_loop().remove_reader(listener.fileno())
    for _ in range(4):  # turns from a connection to its task
        await asyncio.sleep(0)
    server.close()
