"""Keeps a lease as long as a run works."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from service.ledger import Ledger
from service.store import StoreUnavailable
from service.verbs import Lease


@contextlib.asynccontextmanager
async def renewing(ledger: Ledger, lease: Lease) -> AsyncIterator[None]:
    """Keep the lease while the run works; a run that loses it is told by its next commit."""
    pause, tasks = ledger.lease_seconds / 3, list[asyncio.Task[None]]()

    async def renew() -> None:
        while True:
            with contextlib.suppress(StoreUnavailable):
                if not await ledger.renew(lease):
                    return
            await asyncio.sleep(pause)

    # Most runs are over before the first time: they do without the task.
    first = asyncio.get_running_loop().call_later(pause, lambda: tasks.append(asyncio.create_task(renew())))
    try:
        yield
    finally:
        first.cancel()
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
