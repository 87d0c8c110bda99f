"""How far the store's clock is from ours: tokens we sign and times we compare are wrong by as much."""

import time
from collections.abc import Callable
from typing import Final

from service.store import Script, Store

_SCRIPT: Final = Script("return redis.call('TIME')")
_KEYS: Final = ("vm:clock",)  # only says which shard is asked; nothing is kept there


async def skew(store: Store, now: Callable[[], float] = time.time) -> float:
    """Seconds by which the store's clock is ahead of ours, right to half the round trip. Raises StoreUnavailable."""
    before = now()
    theirs = await store_time(store)
    return theirs - (before + now()) / 2


async def store_time(store: Store) -> float:
    """The store's time (unix seconds), which is the same for all processes. Raises StoreUnavailable."""
    seconds, micros = await store.call(_SCRIPT, _KEYS, ())
    return int(seconds) + int(micros) / 1_000_000
