"""What many ask for at a time and is fetched once for all of them, also when that fails."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

from providers.base import ProviderError, TemporaryError

PAUSE: Final = 5.0
"""Seconds after a failure before it is fetched again."""
WAITING: Final = 64
"""How many wait for one call; a host that hangs must not hold a place for everybody who comes."""

_T = TypeVar("_T")


class Shared(Generic[_T]):
    """One thing of a provider's. `away` is what those are told who come too soon after a failure, or are too many."""

    def __init__(self, away: str) -> None:
        self._away = away
        self._held: tuple[float, _T] | None = None
        self._failure: ProviderError | None = None
        self._down_until = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._waiting = 0

    async def get(self, fetch: Callable[[], Coroutine[Any, Any, _T]], age: float, *, old: bool = False) -> _T:
        """What is held, if not older than `age` seconds, else what `fetch` answers; `old` will do when that fails.

        Raises: ProviderError.
        """
        if self._held is not None and time.monotonic() - self._held[0] <= age:
            return self._held[1]
        error = await self._refused(fetch)
        if self._held is None or (error and not old):
            raise (error or TemporaryError(self._away)).with_traceback(None)  # the same one is raised for many
        return self._held[1]

    async def _refused(self, fetch: Callable[[], Coroutine[Any, Any, _T]]) -> ProviderError | None:
        """Have it fetched, unless somebody does already; answers why it is not there."""
        if self._asking is None:
            if time.monotonic() < self._down_until:
                temporary = self._failure is None or isinstance(self._failure, TemporaryError)
                return TemporaryError(self._away) if temporary else self._failure
            self._asking = asyncio.create_task(self._ask(fetch))
        if self._waiting >= WAITING:
            return TemporaryError(self._away)
        self._waiting += 1
        try:
            await asyncio.shield(self._asking)  # who goes away ends it for nobody else
        finally:
            self._waiting -= 1
        return self._failure

    async def _ask(self, fetch: Callable[[], Coroutine[Any, Any, _T]]) -> None:
        try:
            self._held, self._failure = (time.monotonic(), await fetch()), None
        except ProviderError as error:
            # The pause begins now: a host that hangs takes longer to fail than the pause lasts.
            self._failure, self._down_until = error, time.monotonic() + PAUSE
        finally:
            self._asking = None
