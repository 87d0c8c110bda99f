"""The delivery log: every event that came in and every call of a provider, kept some days in bounded space.

Keys: `vm:{s<n>}:log`, lines about the records of a shard by when they came, and `vm:{s0}:apart`, lines about none; both
live as long as a line is kept. An event that may change something is written in the ledger's own step, so it is there
once it was taken. What is known later (the answer and its time), calls, and repeats of a question whose answer holds
are gathered and written every second: a process that is killed loses those of its last second.

What strangers may send at will is kept apart, with room of its own, so that it drives out nothing else.
"""

import asyncio
import contextlib
import itertools
import random
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, NamedTuple

import structlog

from service import delivery
from service.delivery import NOWHERE, Delivery, content_purpose
from service.shards import SHARDS, base, shard_keys, shard_of
from service.store import Script, Store, StoreUnavailable
from service.tombs import Tombs
from service.vault import Damaged, UnknownKey, Vault
from service.vello import UPDATE_METADATA, Event

EVERY: Final = 1.0
"""Seconds between two writings."""
HELD: Final = 20_000
"""Lines that wait to be written in one process; of more the oldest are lost."""
TRIM: Final = 3600.0
"""Seconds between two times that old lines are looked for where nothing is written."""
APART: Final = 5_000
"""Lines kept about no record."""
NEWEST: Final = "99999999999999"
"""Before which every line came."""

_SLICE = 250  # lines composed and sent in one go: the loop has other things to do
_SCRIPT = Script(
    "".join(resources.files("service").joinpath(f"{name}.lua").read_text() for name in ("tombs", "deliveries"))
)
_APART = "apart"
_log = structlog.get_logger(__name__)


class Note(NamedTuple):
    """What the ledger writes of an event: how its line begins, ms it is kept, lines its shard has room for."""

    head: str = ""
    keep: int = 0
    most: int = 0


@dataclass(slots=True)
class Answered:
    """An event that was answered; `noted` is the verdict with which the ledger wrote its line, '' if it did not.

    `foreign` is the digest of a video link that is not ours, `again` the line that was replayed.
    """

    note: Note
    realm: str
    type: str
    verdict: str
    milliseconds: float
    event: Event | None = None
    noted: str = ""
    code: str | None = None
    connection: str | None = None
    foreign: str = ""
    again: str | None = None
    at: int = 0
    times: int = 1


class _Row(NamedTuple):
    """One line for the script: see deliveries.lua."""

    shard: str
    old: str
    at: int
    tomb: str
    line: str
    rest: str = ""


class Deliveries:
    """The log, as one process writes and reads it. Reading raises StoreUnavailable."""

    def __init__(self, store: Store, vault: Vault, tombs: Tombs, days: int = 14, lines: int = 500_000) -> None:
        self._store, self._vault, self._tombs = store, vault, tombs
        self._keep = days * 86_400_000
        self._most = max(1, lines // SHARDS)
        self._name, self._names = secrets.token_hex(4), itertools.count(1)
        self._events: deque[Answered] = deque(maxlen=HELD)
        self._rows: deque[_Row] = deque(maxlen=HELD)
        self._repeats: dict[tuple[str, str, str], Answered] = {}
        self._task: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._lost = 0
        self._trim_at = time.monotonic() + TRIM / 60

    def note(self, event: Event, realm: str) -> Note:
        """What the ledger is to write of an event."""
        return Note(delivery.head(self._nonce(), event, realm), self._keep, self._most)

    def answered(self, seen: Answered) -> None:
        """An event was answered.

        Of repeats of a question whose answer holds, and of what is refused for one reason, one line a second tells.
        """
        seen.at = int(time.time() * 1000)
        record = seen.event.record if seen.event else None
        if not seen.noted and (record is None or seen.verdict in ("same", "refused")):
            about = record.id if record and seen.verdict == "same" else f"{seen.verdict} {seen.code}"
            if self.repeated(about, seen.type, seen.realm, seen.milliseconds):
                return
            self._repeats[about, seen.type, seen.realm] = seen
        self._lost += len(self._events) == HELD
        self._events.append(seen)

    def repeated(self, about: str, kind: str, realm: str, milliseconds: float) -> bool:
        """Count one more of what is told of already; False where no line of this second tells of such a thing."""
        first = self._repeats.get((about, kind, realm))
        if first is None:
            return False
        first.times += 1
        first.milliseconds = max(first.milliseconds, milliseconds)
        return True

    def called(
        self,
        record: str | None,
        realm: str | None,
        connection: str,
        provider: str,
        verb: str,
        outcome: str,
        milliseconds: float,
        attempt: int,
        status: int | None,
    ) -> None:
        """A provider was called; a call about an erased record names it no more."""
        at, nonce, of = int(time.time() * 1000), self._nonce(), NOWHERE if realm is None else realm
        rest = (of, connection, provider, verb, outcome, round(milliseconds, 1), attempt, status)
        nameless = delivery.called(nonce, "", *rest)
        self._lost += len(self._rows) == HELD
        if record is None:
            self._rows.append(_Row(_APART, "", at, "", nameless))
        else:
            line = delivery.called(nonce, record, *rest)
            self._rows.append(_Row(str(shard_of(record)), "", at, self._tombs.name(record), line, nameless))

    def start(self) -> None:
        """Begin to write every second."""
        self._task = asyncio.create_task(self._loop())

    async def stop(self) -> None:
        """Write what is left, once."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(StoreUnavailable):
            await self.flush()

    async def _loop(self) -> None:
        waits = False
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.flush()
                if time.monotonic() >= self._trim_at:
                    self._trim_at = time.monotonic() + TRIM * random.uniform(0.75, 1.25)  # noqa: S311 (jitter)
                    await self.trim()
                waits = False
            except StoreUnavailable as error:
                if not waits:
                    _log.warning("delivery_log_waits", reason=str(error))
                waits = True
            except Exception:  # a fault of ours must not end the log
                _log.exception("delivery_log_failed")

    async def flush(self) -> None:
        """Write what was gathered. Raises StoreUnavailable; nothing is lost by that while there is room for it."""
        async with self._writing:
            self._repeats.clear()
            if self._lost:
                _log.warning("delivery_log_lost", lines=self._lost)
                self._lost = 0
            left = len(self._events) + len(self._rows)
            while left > 0 and (self._events or self._rows):
                while self._events and len(self._rows) < _SLICE:
                    self._rows.append(self._row(self._events.popleft()))
                rows = [self._rows.popleft() for _ in range(min(_SLICE, len(self._rows)))]
                try:
                    await self._write(rows)
                except (StoreUnavailable, asyncio.CancelledError):  # it may have been written: that does no harm
                    self._rows.extendleft(reversed(rows[: HELD - len(self._rows)]))
                    raise
                left -= len(rows)
                await asyncio.sleep(0)

    async def trim(self) -> None:
        """Take out what is too old, wherever it is."""
        calls = [
            ((shard_keys(_number(shard))[0], _key(shard)), (self._keep, APART if shard == _APART else self._most))
            for shard in [*map(str, range(SHARDS)), _APART]
        ]
        await self._store.pipeline_call(_SCRIPT, calls)

    async def _write(self, rows: list[_Row]) -> None:
        by_shard: dict[str, list[Any]] = {}
        for row in rows:
            by_shard.setdefault(row.shard, []).extend(row[1:])
        calls = [
            (
                (shard_keys(_number(shard))[0], _key(shard)),
                (self._keep, APART if shard == _APART else self._most, *args),
            )
            for shard, args in by_shard.items()
        ]
        await self._store.pipeline_call(_SCRIPT, calls)

    def _row(self, seen: Answered) -> _Row:
        event, took = seen.event, round(seen.milliseconds, 1)
        record = event.record if event else None
        if event is None or record is None or seen.verdict in ("refused", "erased"):
            line = delivery.nameless(self._nonce(), seen.realm, seen.type, seen.verdict, seen.code, took, seen.times)
            return _Row(_APART, "", seen.at, "", line)
        content = None
        if seen.noted or seen.verdict != "same":
            said_before = seen.noted == "same" and event.type != UPDATE_METADATA
            content = None if said_before else self._sealed(event, seen.foreign)
        head = seen.note.head or delivery.head(self._nonce(), event, seen.realm)
        verdict = seen.noted or seen.verdict
        old = delivery.ended(head, verdict) if seen.noted else ""
        line = delivery.answered(head, verdict, seen.code, seen.connection, took, seen.times, seen.again, content)
        rest = delivery.nameless(self._nonce(), seen.realm, event.type, "erased", None, took, seen.times)
        return _Row(str(shard_of(record.id)), old, seen.at, self._tombs.name(record.id), line, rest)

    def _sealed(self, event: Event, foreign: str) -> str:
        assert event.record is not None  # noqa: S101 - _row() looked
        return self._vault.seal(delivery.packed(event.record, foreign), content_purpose(event.record.id))

    def said(self, line: Delivery) -> tuple[Event, str] | None:
        """What a line's event said, and the digest of its foreign link; None where that is not known any more."""
        if line.content is None or line.record is None:
            return None
        try:
            return delivery.unpacked(line, self._vault.open(line.content, content_purpose(line.record)))
        except (UnknownKey, Damaged):
            return None

    async def get(self, id_: str) -> Delivery | None:
        """One line."""
        await self.flush()
        at, shard, _ = id_.split(".", 2)
        for line in await self._store.execute("ZRANGEBYSCORE", _key(shard), at, at):
            found = delivery.read(line, int(at), shard)
            if found.id == id_:
                return found
        return None

    async def page(
        self, before: str, limit: int, *, since: float = 0, record: str | None = None
    ) -> tuple[list[Delivery], str | None]:
        """Up to `limit` lines before `before` (a line's id, or a time in ms), the newest first, and where to go on.

        Those of one record, if one is named; no older ones than `since` (unix seconds).
        """
        await self.flush()
        at, _, last = before.partition(".")
        place = (int(at), *_place(last)) if last else (int(at), -1, "")
        oldest = max(int(since * 1000), int(time.time() * 1000) - self._keep)
        shards = [str(shard_of(record))] if record else [*map(str, range(SHARDS)), _APART]
        rows: list[tuple[int, int, str, str]] = []
        offsets, size = dict.fromkeys(shards, 0), limit + 1 if record else limit // 32 + 4
        while offsets:
            commands = [
                ("ZREVRANGEBYSCORE", _key(shard), at, oldest, "WITHSCORES", "LIMIT", offset, size)
                for shard, offset in offsets.items()
            ]
            more = {}
            for (shard, offset), found in zip(offsets.items(), await self._store.pipeline(commands), strict=True):
                batch = [(*_order(shard, line, score), shard) for line, score in _pairs(found)]
                rows += [row for row in batch if row[:3] < place and (not record or f'"{record}"' in row[2])]
                if len(batch) == size:
                    more[shard] = offset + size, batch[-1][:3]
            rows = sorted(set(rows), reverse=True)[:limit]
            offsets = {
                shard: offset for shard, (offset, end) in more.items() if len(rows) < limit or end > rows[-1][:3]
            }
            size *= 4
        lines = [delivery.read(line, ms, shard) for ms, _, line, shard in rows]
        return lines, lines[-1].id if len(lines) == limit else None

    async def forget(
        self,
        records: Collection[str] = (),
        customer: str | None = None,
        sees: Callable[[str], bool] = lambda _: True,
    ) -> int:
        """Take every line about these records out of the log, and every one that names `customer`; answers how many.

        Of companies that somebody `sees`. To be called after their tombs stand: what is gathered still is then written
        without their names.
        """
        await self.flush()
        gone, shards = 0, {str(shard_of(record)) for record in records}
        named = frozenset(records)
        async for shard, lines in self._all(None if customer else shards):
            doomed = []
            for line, at in lines:
                each = delivery.read(line, at, shard)
                theirs = each.record in named or (customer and self._names_customer(each, customer))
                if each.record is not None and theirs and sees(each.realm):
                    doomed.append(line)
            if doomed:
                gone += int(await self._store.execute("ZREM", _key(shard), *doomed))
        return gone

    async def naming(self, customer: str, sees: Callable[[str], bool] = lambda _: True) -> AsyncIterator[list[str]]:
        """The records of lines that name `customer`, of companies that somebody `sees`; some lines' at a time."""
        await self.flush()
        async for shard, lines in self._all(None):
            read = (delivery.read(line, at, shard) for line, at in lines)
            mine = [each for each in read if sees(each.realm) and self._names_customer(each, customer)]
            if found := dict.fromkeys(each.record for each in mine if each.record):
                yield list(found)

    async def of(self, record: str, limit: int = 500) -> list[Delivery]:
        """The latest lines about one record."""
        return (await self.page(NEWEST, limit, record=record))[0]

    async def reseal(self, anew: Callable[[str, str], str | None]) -> int:
        """Put lines with their content sealed `anew` (envelope and purpose; None: as it is) in the place of the old."""
        done = 0
        async for shard, lines in self._all(None):
            rows = []
            for line, at in lines:
                each = delivery.read(line, at, shard)
                sealed = anew(each.content, content_purpose(each.record)) if each.content and each.record else None
                if sealed and each.content:
                    rows.append(_Row(shard, line, at, "", line.replace(each.content, sealed)))
            if rows:
                await self._write(rows)
            done += len(rows)
        return done

    def _names_customer(self, line: Delivery, customer: str) -> bool:
        said = self.said(line)
        return said is not None and said[0].record is not None and said[0].record.customer == customer

    async def _all(self, shards: Collection[str] | None) -> AsyncIterator[tuple[str, list[tuple[str, int]]]]:
        """All lines of some shards, or of all, some at a time; what is taken out meanwhile does no harm."""
        for shard in [*map(str, range(SHARDS)), _APART] if shards is None else shards:
            cursor = 0
            while True:
                cursor, found = await self._store.execute("ZSCAN", _key(shard), cursor, "COUNT", _SLICE)
                if found:
                    yield shard, [(line, int(score)) for line, score in found]
                if not cursor:
                    break

    def _nonce(self) -> str:
        return f"{self._name}{next(self._names):x}"


def _number(shard: str) -> int:
    return 0 if shard == _APART else int(shard)


def _key(shard: str) -> str:
    return f"{base(0)}{_APART}" if shard == _APART else f"{base(int(shard))}log"


def _pairs(flat: Sequence[str]) -> Iterator[tuple[str, str]]:
    return zip(flat[0::2], flat[1::2], strict=True)


def _order(shard: str, line: str, score: str) -> tuple[int, int, str]:
    """A line's place among all, the same for every reader."""
    return int(float(score)), _rank(shard), line


def _place(last: str) -> tuple[int, str]:
    shard, _, nonce = last.partition(".")
    return _rank(shard), f'["{nonce}"'


def _rank(shard: str) -> int:
    return SHARDS if shard == _APART else int(shard)
