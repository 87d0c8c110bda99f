"""The loop that claims due records and has them reconciled: woken at once, never polling while there is nothing."""

import asyncio
import contextlib
import math
from typing import Any, Final

import structlog

from service.ledger import WAKE_CHANNEL, Ledger
from service.runs import Runs
from service.shards import SHARDS
from service.store import Store, StoreUnavailable

CONCURRENCY: Final = 256
"""Records one process works on at a time in the background; one connection has room for a part of them."""
_RESCAN: Final = 5.0
"""Seconds after which a shard is looked at even if nobody woke us: messages may be lost."""
_PAUSE: Final = 1.0  # seconds after a failure

_log = structlog.get_logger(__name__)


class Worker:
    """Claims due records of every shard; `stop` ends the claiming, the runs are drained apart."""

    def __init__(self, store: Store, ledger: Ledger, runs: Runs) -> None:
        self._store = store
        self._ledger = ledger
        self._runs = runs
        self._wake = asyncio.Event()
        self._look_at = dict.fromkeys(range(SHARDS), 0.0)
        self._tasks: list[asyncio.Task[Any]] = []
        self._mine: set[asyncio.Task[Any]] = set()

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
            free = CONCURRENCY - len(self._mine)
            ready = [shard for shard, at in self._look_at.items() if at <= clock()]
            if not ready or free <= 0:
                until = _RESCAN if free <= 0 else max(0.0, min(self._look_at.values()) - clock())
                await self._rest(until, busy=free <= 0)
                continue
            try:
                await self._claim(ready[:free], free)
            except StoreUnavailable as error:
                _log.warning("worker_waits", reason=str(error))
                await asyncio.sleep(_PAUSE)
                self._rescan()
            except Exception:  # a fault of ours must not end the loop that carries out everything
                _log.exception("worker_failed")
                await asyncio.sleep(_PAUSE)
                self._rescan()

    async def _claim(self, shards: list[int], free: int) -> None:
        for shard in shards:
            self._look_at[shard] = math.inf  # who wakes us from now on means something newer
        for shard, claimed in zip(shards, await self._ledger.claim(shards, max(1, free // len(shards))), strict=True):
            for lease in claimed.leases:
                run = self._runs.start(lease, claimed.revision)
                self._mine.add(run)
                run.add_done_callback(self._mine.discard)
            next_in = _RESCAN if claimed.next_in is None else min(_RESCAN, claimed.next_in)
            self._look_at[shard] = min(self._look_at[shard], asyncio.get_running_loop().time() + next_in)

    async def _rest(self, seconds: float, *, busy: bool) -> None:
        """Wait until woken, until something is due, or, when there is no room, until a run is done."""
        waker = asyncio.create_task(self._wake.wait())
        waiting: set[asyncio.Task[bool] | asyncio.Task[Any]] = {waker}
        if busy:
            waiting |= self._mine
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waker.cancel()
