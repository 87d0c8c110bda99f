"""The loop that claims due records and has them reconciled: woken at once, never polling while there is nothing."""

import asyncio
import contextlib
from typing import Final

import structlog

from service.ledger import SHARDS, WAKE_CHANNEL, Ledger
from service.reconcile import Reconciler, Settings
from service.store import Store, StoreUnavailable

CONCURRENCY: Final = 64
"""Records one process works on at a time."""
_BATCH: Final = 8
_RESCAN: Final = 5.0
"""Seconds after which a shard is looked at even if nobody woke us: messages may be lost."""

_log = structlog.get_logger(__name__)


class Worker:
    """Claims due records of every shard; `stop` ends the claiming, the reconciler drains what runs."""

    def __init__(self, store: Store, ledger: Ledger, reconciler: Reconciler, settings: Settings) -> None:
        self._store = store
        self._ledger = ledger
        self._reconciler = reconciler
        self._settings = settings
        self._wake = asyncio.Event()
        self._look_at = dict.fromkeys(range(SHARDS), 0.0)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to listen and to claim."""
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._loop())]

    async def stop(self) -> None:
        """Claim nothing more."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _listen(self) -> None:
        async for _, shard in self._store.subscribe(WAKE_CHANNEL, on_connect=self._rescan):
            if shard.isdigit() and int(shard) in self._look_at:
                self._look_at[int(shard)] = 0.0
                self._wake.set()

    def _rescan(self) -> None:
        self._look_at = dict.fromkeys(range(SHARDS), 0.0)
        self._wake.set()

    async def _loop(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            self._wake.clear()
            free = CONCURRENCY - len(self._reconciler.running())
            ready = [shard for shard, at in self._look_at.items() if at <= clock()]
            if ready and free > 0:
                try:
                    await self._claim(ready, free)
                except StoreUnavailable as error:
                    _log.warning("worker_waits", reason=str(error))
                    await asyncio.sleep(1.0)
                continue
            until = _RESCAN if free <= 0 else max(0.0, min(self._look_at.values()) - clock())
            await self._rest(until, busy=free <= 0)

    async def _claim(self, shards: list[int], free: int) -> None:
        clock = asyncio.get_running_loop().time
        shards = shards[: max(1, free)]
        each = max(1, min(_BATCH, free // len(shards)))
        for shard in shards:
            self._look_at[shard] = clock() + _RESCAN
        for shard, claimed in zip(shards, await self._ledger.claim(shards, each), strict=True):
            if claimed.leases:
                await self._settings.refresh(claimed.revision)
            for lease in claimed.leases:
                self._reconciler.start(lease)
            if claimed.next_in is not None:
                self._look_at[shard] = min(self._look_at[shard], clock() + claimed.next_in)

    async def _rest(self, seconds: float, *, busy: bool) -> None:
        """Wait until woken, until something is due, or, when there is no room, until a run is done."""
        waker = asyncio.create_task(self._wake.wait())
        waiting: set[asyncio.Task[bool] | asyncio.Task[None]] = {waker}
        if busy:
            waiting |= set(self._reconciler.running())
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waker.cancel()
