"""Work that comes round once a minute, whatever becomes of one round."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from service.store import StoreUnavailable

EVERY: Final = 60.0
"""Seconds between two rounds, a quarter more or less."""

_log = structlog.get_logger(__name__)


class Rounds:
    """Has `work` done again and again; `name` is what the log calls it, `every` are the seconds between two rounds."""

    def __init__(self, name: str, work: Callable[[], Awaitable[object]], every: float = EVERY) -> None:
        self._name = name
        self._every = every
        self._work = work
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, the first round a little later."""
        self._task = asyncio.create_task(self._loop())

    async def stop(self) -> None:
        """End it; what is under way is given up."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _loop(self) -> None:
        while True:
            await asyncio.sleep(self._every * random.uniform(0.75, 1.25))  # noqa: S311 (jitter is no secret)
            try:
                await self._work()
            except StoreUnavailable as error:
                _log.warning(f"{self._name}_waits", reason=str(error))
            except Exception:  # a fault of ours must not end what looks after everything
                _log.exception(f"{self._name}_failed")
