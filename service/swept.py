"""Since when the store is whole, and what the sweeps of it have come to.

A store that was lost, or put back from a backup, does not know all that it knew. It shows in a gap: every process,
whatever its role and however long a sweep takes, writes a beat every minute. From such a gap, or from the store's very
first beat, the store is whole; of records that Vello made before, a meeting may stand at a provider that nobody here
knows of.

Keys: `vm:sweep` (the beat, since when it is whole, whether notes of found meetings are there, the reports of the last
sweep and of the last one of everything, and when each connection was looked at to its end), 400 days after the last
beat; `vm:sweep:lock`, five minutes.
"""

import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Final

from service.store import Script, Store, known_of

KEPT: Final = 400 * 86_400
"""Seconds for which a store that nobody uses remembers."""
GAP: Final = 900
"""Seconds without a beat after which the store may have been put back from a backup meanwhile."""
GLANCE: Final = 1.0
"""Seconds for which what was read is believed."""
HELD: Final = 300
"""Seconds a lock lasts that nobody renews."""

_KEY, _LOCK = "vm:sweep", "vm:sweep:lock"
# ARGV 1 gap s  2 the last beat that the caller knows of  3 time to live s. Answers since when the store is whole, and
# the beat. A beat that is older than the caller's comes from a backup.
_BEAT = Script(
    "local now = tonumber(redis.call('TIME')[1]) "
    "local seen = tonumber(redis.call('HGET', KEYS[1], 'seen') or nil) "
    "if not seen or now - seen > tonumber(ARGV[1]) or seen < tonumber(ARGV[2]) then "
    "redis.call('HSET', KEYS[1], 'since', now) end "
    "redis.call('HSET', KEYS[1], 'seen', now) redis.call('EXPIRE', KEYS[1], ARGV[3]) "
    "return {tonumber(redis.call('HGET', KEYS[1], 'since')), now}"
)
# ARGV 1 owner  2 seconds, 0 to let go. Answers 1 while the lock is the owner's.
_HOLD = Script(
    "local held = redis.call('GET', KEYS[1]) "
    "if held and held ~= ARGV[1] then return 0 end "
    "if ARGV[2] == '0' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end "
    "return 1"
)


class Kind(StrEnum):
    """What was found, by what is done about it."""

    ADOPT = "adopt"
    """A meeting of a record that has none: it is taken on."""
    REMOVE = "remove"
    """A meeting that nobody wants."""
    REPAIR = "repair"
    """A meeting that is missing, or is not as the booking wants it."""
    AGAIN = "again"
    """Work that was given up and is tried once more."""
    NOTE = "note"
    """A meeting whose record is not known: it waits for Vello's next event."""
    REPORT = "report"
    """Something that a person may want to know; nothing is done."""


@dataclass(frozen=True, slots=True)
class SweepReport:
    """How far a sweep is, or what it came to; times are UTC unix seconds, `ended` None while it goes on.

    `meetings` with our marker were seen. `counts` says how many times what was found, by the names of `Kind`. `left`:
    what could not be looked at, a sentence for each connection. Of `to_do` things to set right, `done` are. `only`: the
    one connection it looked at, None for everything.
    """

    began: int
    ended: int | None = None
    meetings: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)
    done: int = 0
    to_do: int = 0
    only: str | None = None


class Swept:
    """What every process sees of sweeps. All verbs raise StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._beat = 0
        self._since, self._found, self._looked = 0, False, float("-inf")

    async def beat(self) -> int:
        """Say that the store is in use; answers since when it is whole (unix seconds)."""
        since, self._beat = await self._store.call(_BEAT, (_KEY,), (GAP, self._beat, KEPT))
        self._since = int(since)
        return self._since

    async def glance(self) -> tuple[int, bool]:
        """Since when the store is whole, and whether there are notes of meetings that were found; a second old at most.

        A store that was emptied under us is whole from now on.
        """
        if time.monotonic() - self._looked > GLANCE:
            since, found = await self._store.execute("HMGET", _KEY, "since", "found")
            self._since, self._found = int(since or time.time()), bool(found)
            self._looked = time.monotonic()
        return self._since, self._found

    async def found(self, *, any_: bool) -> None:
        """Say whether there are notes of meetings that were found."""
        await self._store.execute(*(("HSET", _KEY, "found", 1) if any_ else ("HDEL", _KEY, "found")))
        self._looked = float("-inf")

    async def looked(self, connection: str) -> bool:
        """Whether all meetings of a connection were looked at since the store is whole."""
        since, at = await self._store.execute("HMGET", _KEY, "since", f"at:{connection}")
        return since is not None and int(at or 0) >= int(since)

    async def at(self, connections: Iterable[str]) -> dict[str, int]:
        """When the sweep began that last looked at all meetings of each connection; 0 for never."""
        names = list(connections)
        row = await self._store.execute("HMGET", _KEY, *(f"at:{each}" for each in names)) if names else []
        return {name: int(at or 0) for name, at in zip(names, row, strict=True)}

    async def unseen(self, connections: Iterable[str]) -> list[str]:
        """Those of `connections` that were not looked at since the store is whole."""
        row = await self._store.execute("HGETALL", _KEY)
        since = int(row.get("since", 0))
        return [each for each in connections if int(row.get(f"at:{each}", 0)) < since or not since]

    async def done(self, connection: str, began: int) -> None:
        """Remember that all meetings of a connection were looked at by a sweep that began then."""
        await self._store.execute("HSET", _KEY, f"at:{connection}", began)

    async def report(self, report: SweepReport) -> None:
        """Show how far a sweep is."""
        row = json.dumps(asdict(report))
        whole = () if report.only else ("whole", row)
        await self._store.execute("HSET", _KEY, "last", row, *whole)

    async def last(self) -> SweepReport | None:
        """The last sweep, or the one that goes on; None before the first."""
        return await self._report("last")

    async def whole(self) -> SweepReport | None:
        """The last one of everything."""
        return await self._report("whole")

    async def _report(self, name: str) -> SweepReport | None:
        row = await self._store.execute("HGET", _KEY, name)
        return SweepReport(**known_of(row, SweepReport.__dataclass_fields__)) if row else None

    @contextlib.asynccontextmanager
    async def lock(self) -> AsyncIterator["Lock | None"]:
        """Hold the one lock of all sweeps; None while another process has it."""
        lock = Lock(self._store)
        if not await lock.renew():
            yield None
            return
        try:
            yield lock
        finally:
            await lock.end()


class Lock:
    """The right to sweep, as long as it is renewed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._owner = secrets.token_hex(8)

    async def renew(self) -> bool:
        """Keep it; False when somebody else has it by now."""
        return bool(await self._store.call(_HOLD, (_LOCK,), (self._owner, HELD)))

    async def end(self) -> None:
        """Let go of it."""
        await self._store.call(_HOLD, (_LOCK,), (self._owner, 0))
