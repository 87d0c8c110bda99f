"""Bookings that are to have a meeting and have none: those that begin soon, and those that were given up.

The index and the failed ones of each shard are read, never all records: one script a shard, a few in one round trip.
"""

import hashlib
from collections.abc import Collection
from importlib import resources
from typing import Any, Final, NamedTuple

from service.shards import SHARDS, shard_keys
from service.store import Script, Store

SOON: Final = 86_400
"""Seconds before its start from which on a booking without a meeting is a trouble."""
LATE: Final = 300
"""Seconds after which something due should have been done."""
MOST: Final = 1000
"""Records of each kind that are looked at in one shard at most, the soonest first."""
TOGETHER: Final = 8
"""Shards in one round trip: with very many bookings all of them together would take too long for one call."""

_SCRIPT = Script(resources.files("service").joinpath("lacking.lua").read_text())


class Lacking(NamedTuple):
    """One booking without a meeting; `start` in unix seconds. `realm` as the ledger has it.

    `name` is a digest of its id, which says nothing to anybody. `failed`: it was given up. `parked` names the
    connection that it waits for.
    """

    name: str
    start: int
    realm: str
    failed: bool
    parked: str | None


class Shortfall(NamedTuple):
    """All bookings that lack a meeting, soonest first, and how many more were not looked at."""

    bookings: tuple[Lacking, ...] = ()
    unseen: int = 0


async def lacking(store: Store, now: float) -> Shortfall:
    """What lacks a meeting at `now` (unix seconds). Raises: StoreUnavailable."""
    found, unseen = await _look(store, now)
    return Shortfall(tuple(sorted((each for _, each in found), key=lambda each: each.start)), unseen)


async def named(store: Store, now: float, names: Collection[str]) -> list[str]:
    """The records of those that lack a meeting at `now` and have one of these names. Raises: StoreUnavailable."""
    found, _ = await _look(store, now) if names else ([], 0)
    return [record for record, each in found if each.name in names]


async def _look(store: Store, now: float) -> tuple[list[tuple[str, Lacking]], int]:
    """Each record that lacks a meeting, and how many more were not looked at."""
    args = (int(now), int(now) + SOON, LATE * 1000, MOST)
    answers: list[list[Any]] = []
    for first in range(0, SHARDS, TOGETHER):
        keys = [shard_keys(shard)[:2] for shard in range(first, first + TOGETHER)]
        answers += await store.pipeline_call(_SCRIPT, [(each, args) for each in keys])
    found = [
        (record, Lacking(_name(record), int(float(start)), realm, kind == "failed", parked or None))
        for _, *rest in answers
        for record, start, realm, kind, parked in zip(*(rest[at::5] for at in range(5)), strict=True)
    ]
    return found, sum(int(answer[0]) for answer in answers)


def _name(record: str) -> str:
    return hashlib.sha256(record.encode()).hexdigest()[:10]
