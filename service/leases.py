"""Keeps a lease as long as a run works."""

import asyncio
import contextlib
from types import TracebackType

from service.ledger import Ledger
from service.store import StoreUnavailable
from service.verbs import Lease


class Renewing:
    """Keeps the lease while the run works; a run that loses it is told by its next commit.

    Most runs are over before the first time: they do without the task.
    """

    def __init__(self, ledger: Ledger, lease: Lease) -> None:
        self._ledger = ledger
        self._lease = lease
        self._pause = ledger.lease_seconds / 3
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._first = asyncio.get_running_loop().call_later(self._pause, self._begin)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._first.cancel()
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        while True:
            with contextlib.suppress(StoreUnavailable):
                if not await self._ledger.renew(self._lease):
                    return
            await asyncio.sleep(self._pause)
