"""The ledger: what Vello wants of every record and what was done about it, in Redis or Valkey.

Nobody else writes its keys; `shards` says where they are.
"""

import itertools
import math
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any, Final

import orjson
import structlog

from service.entry import Entry, Placement, digest, foreign_link, host_purpose
from service.parked import noticing, paced
from service.repeats import Repeats, orders_of
from service.rows import Rows, content_of, digest_of
from service.scripts import SCRIPTS
from service.shards import (
    SHARDS,
    base,
    entry_key,
    letter_of,
    letters,
    name_of,
    record_keys,
    shard_behind,
    shard_keys,
    shard_of,
    shard_sets,
    token_in,
)
from service.store import Store
from service.tombs import Tombs
from service.vault import Damaged, UnknownKey, Vault
from service.vello import UPDATE_METADATA, Event
from service.verbs import (
    NEVER_MADE,
    NOTHING,
    ZOMBIE,
    Accepted,
    Backlog,
    Change,
    Claimed,
    Committed,
    Foreseen,
    JournalLine,
    Known,
    Lease,
    Page,
    Telling,
    Tells,
    clock,
    told_by,
)

WAKE_CHANNEL: Final = "vm:wake"
RETENTION: Final = 30 * 86_400
"""Seconds a record is kept after its meeting ended, or its last word or work that was done, unless told otherwise."""
TOMBSTONE: Final = 90 * 86_400
"""Seconds a deleted record is remembered, so that late events cannot revive it."""

_log = structlog.get_logger(__name__)


class Ledger:
    """Every verb is one round trip and safe to repeat. All raise `StoreUnavailable` when the store cannot be used."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        lease_seconds: float = 15.0,
        tombs: Tombs | None = None,
        retention: int = RETENTION,
    ) -> None:
        self._store, self._vault, self._tombs = store, vault, tombs or Tombs()
        self._lease_ms, self._retention = int(lease_seconds * 1000), retention
        self._random, self._rows = letters(), Rows(vault)
        self._name, self._names = secrets.token_hex(8), itertools.count(1)
        self.repeats, self.lease_seconds = Repeats(store, self._rows), lease_seconds

    async def accept(
        self,
        event: Event,
        realm: str,
        hosted_prefix: str,
        *,
        inline: bool,
        known: Known = NOTHING,
        note: tuple[str, int, int] = ("", 0, 0),
        foreign: str | None = None,
        foreseen: Foreseen | None = None,
    ) -> Accepted:
        """Store what `event` says if it is newer, and mark its record due.

        `realm` is the company in the webhook's URL ('' for the installation's own). A video link below
        `hosted_prefix` is ours; `foreign` is the digest of one that is not and is not known itself. With `inline` the
        caller gets the lease when there is something to do now. What is `known` of a record from elsewhere is taken on
        if nothing in the ledger says otherwise. `note` goes to the delivery log in the same step. `foreseen` is what is
        to be made of a record that never had a meeting: with the lease its intent is written too.
        """
        record = event.record
        assert record is not None  # noqa: S101 - the caller sorts out events without a record
        foreign = foreign_link(record, hosted_prefix) if foreign is None else foreign
        page = link if (link := record.video_link) and link.startswith(hosted_prefix) else ""
        content, until = content_of(record), clock() + self.lease_seconds
        answer = await self._call(
            "accept",
            record.id,
            realm,
            int(event.type == UPDATE_METADATA),
            int(record.rank),
            *orders_of(record),
            digest_of(content),
            foreign,
            content,
            record.start or 0,
            (record.start or 0) + (record.duration or 0),
            self._new_token(record.id) if event.type == UPDATE_METADATA else "",
            self.new_name() if inline else "",
            self._lease_ms,
            told_by(event),
            self._retention,
            TOMBSTONE,
            self._tombs.name(record.id),
            *self._recalled(record.id, known),
            token_in(record.id, page.removeprefix(hosted_prefix)),
            digest(page),
            int(known.older),
            *note,
            known.placement.marked if known.placement else "",
            self.seal(record.id, foreseen.placement) if foreseen else "",
            f"Making a meeting: {NEVER_MADE}.",
            self._host_for(record.id, known.placement),
        )
        verdict, fence, inherited, now, revision, flat, *written = answer
        if fence < 0:
            return self.repeats.told(record.id, answer)
        first = written == [2] and self._rows.first(record, realm, flat[0], now, self._lease_ms)
        entry = first or self._rows.entry(record.id, flat, now)
        lease = Lease(entry, fence, until, bool(inherited)) if entry and fence else None
        if lease and foreseen and written[0]:
            lease.entry = lease.entry._replace(intent=None, intent_age=math.inf)
            lease.foreseen = foreseen
        return Accepted(verdict, entry, lease, revision, now // 1000, noted=entry is not None)

    async def weigh(self, event: Event, realm: str) -> tuple[str, Entry | None, str]:
        """What `accept` would make of an event: its verdict, or erased; the entry as it is, the settings' revision."""
        record = event.record
        assert record is not None  # noqa: S101 - the caller sorts out events without a record
        fingerprint, tomb = digest_of(content_of(record)), self._tombs.name(record.id)
        verdict, now, revision, flat = await self._call(
            "weigh", record.id, realm, int(record.rank), *orders_of(record), fingerprint, tomb
        )
        return verdict, self._rows.entry(record.id, flat, now), revision

    async def claim(self, shards: Sequence[int], limit: int) -> list[Claimed]:
        """Lease up to `limit` due records in each of `shards`, in one round trip."""
        calls = [(shard_keys(shard), ("claim", limit, self.new_name(), self._lease_ms)) for shard in shards]
        until = clock() + self.lease_seconds
        return [self._claimed(answer, until) for answer in await self._store.pipeline_call(SCRIPTS["claim"], calls)]

    async def renew(self, lease: Lease) -> bool:
        """Lengthen a lease; False when somebody else has the record by now."""
        until = clock() + self.lease_seconds
        renewed = await self._call("renew", lease.entry.record, lease.fence, self._lease_ms)
        lease.until = until if renewed else 0.0
        return bool(renewed)

    async def commit(self, lease: Lease, change: Change, nonce: str = "", tells: Tells | None = None) -> Committed:
        """Write what a run found out, if its lease still holds; whoever says it again after a failure names it so."""
        becomes = tells and tells.becomes
        verdict, now, revision, flat, *told = await self._write(lease, change, nonce, tells, short=2 if becomes else 0)
        entry = becomes if told == [1] else self._rows.entry(lease.entry.record, flat, now)
        return Committed(verdict, entry, revision)

    async def begin(self, lease: Lease, change: Change) -> bool:
        """Write what a run is about to do and keep the lease; False when somebody else has the record by now."""
        until = clock() + self.lease_seconds
        ours = bool((await self._write(lease, change, short=1))[0] != "lost")
        lease.until = until if ours else 0.0
        return ours

    def _write(
        self, lease: Lease, change: Change, nonce: str = "", tells: Tells | None = None, *, short: int
    ) -> Awaitable[Any]:
        what = {
            "set": [text for pair in change.set.items() for text in pair],
            "del": list(change.drop),
            "journal": [text for line in change.journal for text in line],
            "told": tells and (tells.said.link, str(int(tells.said.hosted)), tells.said.answer),
        }
        return self._call(
            "commit",
            lease.entry.record,
            lease.fence,
            nonce or self.new_name(),
            lease.entry.generation,
            change.mode,
            int(change.delay * 1000),
            self._lease_ms,
            change.park,
            orjson.dumps(what),
            self._retention,
            TOMBSTONE,
            short,
        )

    async def nudge(self, record: str, text: str, *, doubt: bool = False) -> bool:
        """Look at a record again now; False when there is no such record. With `doubt` its meeting is set right."""
        return bool(await self._call("nudge", record, text, int(doubt)))

    async def recreate(self, entry: Entry, text: str) -> bool:
        """Have another meeting made in place of the one that stands; False while somebody works on the record."""
        if entry.meeting is None:
            return False
        name, made = entry.meeting.name, str(entry.made)
        return bool(await self._call("recreate", entry.record, text, name, made, str(entry.generation)) == 1)

    async def release(self, record: str, text: str, *, take_back: bool = False) -> bool:
        """Let go of a record and leave its meeting where it is, or take it back; False while somebody works on it."""
        return bool(await self._call("release", record, text, "0" if take_back else "1") == 1)

    async def orphan(self, record: str, placement: Placement, text: str = ZOMBIE) -> None:
        """Hand over a meeting that is not the record's, such as what a run made without its lease: it is removed."""
        rest = (self.seal(record, placement), self._retention, TOMBSTONE, self._tombs.name(record), text)
        await self._call("orphan", record, placement.name, *rest, int(placement.meeting is None))

    async def adopt(self, entry: Entry, placement: Placement, text: str, *, doubt: bool) -> bool:
        """Have a record take on a meeting that stands; False while somebody works on it or knows more of it."""
        before = entry.meeting.name if entry.meeting else ""
        known = (*self._recalled(entry.record, Known(placement, doubt)), str(entry.generation), before)
        rest = (placement.marked, str(entry.made), self._host_for(entry.record, placement))
        return bool(await self._call("adopt", entry.record, text, placement.name, *known, *rest) == 1)

    async def erase(self, record: str) -> str:
        """Forget a record for good: 'unknown', 'gone', or 'pending' until nothing of it stands at a provider."""
        return str(await self._call("erase", record, self._tombs.name(record), TOMBSTONE))

    async def told(self, entry: Entry, said: Telling) -> None:
        """Remember the link that Vello is being told; while nothing moves, `accept` says it again by itself."""
        remembered = entry.told[-1:] == (said.link,) and (entry.hosted or not said.hosted)
        if not remembered or said.answer != entry.answer:
            await self._call("told", entry.record, said.link, int(said.hosted), said.answer)

    async def unpark(self, connection: str) -> int:
        """Have every record go on that waited for `connection`, soonest first and paced; answers how many."""
        keys = [f"{base(shard)}parked:{connection}" for shard in range(SHARDS)]
        rows = await self._store.pipeline([("ZRANGE", key, 0, -1, "WITHSCORES") for key in keys])
        parked = {n: [(row[at], float(row[at + 1])) for at in range(0, len(row), 2)] for n, row in enumerate(rows)}
        calls = [(shard_keys(n), ("unpark", connection, *turn)) for n, turn in paced(parked, time.time())]
        return sum(await self._store.pipeline_call(SCRIPTS["unpark"], calls)) if calls else 0

    async def noticed(self, at: int, connections: Sequence[str], records: Sequence[str]) -> None:
        """Remember that people were told at `at` of `records`, and of all that wait for `connections`."""
        shares = noticing(at, connections, records)
        calls = [(shard_keys(n), ("noticed", *share)) for n, share in shares]
        await self._store.pipeline_call(SCRIPTS["noticed"], calls)

    async def waiting(self, connections: Sequence[str]) -> list[int]:
        """How many records wait for each of `connections` to work again."""
        commands = [("ZCARD", f"{base(shard)}parked:{each}") for each in connections for shard in range(SHARDS)]
        counts = await self._store.pipeline(commands) if commands else []
        return [sum(counts[at : at + SHARDS]) for at in range(0, len(counts), SHARDS)]

    async def get(self, record: str) -> tuple[Entry, list[JournalLine], float | None] | None:
        """A record, its journal, and when somebody will look at it next (unix seconds)."""
        due_set, _, _, row, lines_of = record_keys(record)
        commands = [("HGETALL", row), ("LRANGE", lines_of, 0, -1), ("ZSCORE", due_set, record)]
        flat, lines, due = await self._store.pipeline(commands)
        if (entry := self._rows.entry(record, flat)) is None:
            return None
        journal = [JournalLine(**orjson.loads(line)) for line in lines]
        return entry, journal, float(due) / 1000 if due is not None else None

    async def backlog(self) -> Backlog:
        """How much waits in all shards, in one round trip; late is what the store's clock says."""
        calls = [(shard_keys(shard), ("backlog",)) for shard in range(SHARDS)]
        due, scheduled, late = zip(*await self._store.pipeline_call(SCRIPTS["backlog"], calls), strict=True)
        return Backlog(sum(due), sum(scheduled), max(late) / 1000)

    async def resolve(self, token: str, *, host: bool = False) -> tuple[Entry, str, int] | None:
        """The record behind a hosted link or a host's, the settings' revision, and the store's time (unix seconds)."""
        shard = shard_behind(token)
        if shard < 0:
            return None
        named = (name_of(token), "h") if host else (token, "m")
        record, now, revision, flat = await self._store.call(SCRIPTS["resolve"], shard_keys(shard), ("resolve", *named))
        entry = self._rows.entry(record, flat)
        return (entry, revision, now // 1000) if entry else None

    async def host_token(self, entry: Entry) -> str | None:
        """The token of a record's host link, made when it is first asked for; None where Vello asked for no link.

        The store holds it sealed, and knows it again by its hash.
        """
        token, purpose = self._new_token(entry.record), host_purpose(entry.record)
        sealed, who = self._vault.seal(token, purpose), self._host_for(entry.record, entry.meeting)
        held = await self._call("host", entry.record, name_of(token), sealed, who)
        return self._vault.open(held, purpose) if held else None

    async def page(self, after: tuple[int, str], limit: int) -> Page:
        """Up to `limit` records of all shards by start of their meeting, those after `after` (start, record).

        Records that vanished are taken off the index on the way.
        """
        rows: list[tuple[int, str]] = []
        offsets, size = dict.fromkeys(range(SHARDS), 0), limit // 32 + 4  # twice a shard's fair share, and some
        while offsets:
            commands = [
                ("ZRANGEBYSCORE", f"{base(shard)}index", after[0], "+inf", "WITHSCORES", "LIMIT", offset, size)
                for shard, offset in offsets.items()
            ]
            more = {}  # what shards that may hold more of them gave last
            for (shard, offset), members in zip(offsets.items(), await self._store.pipeline(commands), strict=True):
                scored = zip(members[1::2], members[0::2], strict=True)
                batch = [(int(float(score)), str(name)) for score, name in scored]
                rows += [row for row in batch if row > after]
                if len(batch) == size:
                    more[shard] = offset + size, batch[-1]
            rows = sorted(set(rows))[:limit]
            full = len(rows) == limit
            offsets = {shard: offset for shard, (offset, last) in more.items() if not full or last < rows[-1]}
            size *= 4
        flats = await self._store.pipeline([("HGETALL", entry_key(record)) for _, record in rows]) if rows else []
        found, vanished = [], []
        for (at, record), flat in zip(rows, flats, strict=True):
            if entry := self._rows.entry(record, flat):
                found.append((at, entry))
            else:
                vanished.append(("ZREM", f"{base(shard_of(record))}index", record))
        if vanished:
            await self._store.pipeline(vanished)
        return Page(found, rows[-1] if rows else None)

    async def records(self) -> AsyncIterator[list[str]]:
        """The ids of all records, a shard at a time."""
        for shard in range(SHARDS):
            found = await self._store.pipeline([("ZRANGE", key, 0, -1) for key in shard_sets(shard)])
            yield sorted({str(record) for each in found for record in each})

    async def bump_revision(self) -> str:
        """Tell every shard that the settings changed; the next call about any record says so."""
        revision = secrets.token_hex(8)
        await self._store.pipeline([("SET", f"{base(shard)}rev", revision) for shard in range(SHARDS)])
        return revision

    def _new_token(self, record: str) -> str:
        """A link token: one character that names the record's shard, then random ones."""
        return letter_of(record) + next(self._random)

    def new_name(self) -> str:
        """A name for a lease or a commit that no other has, here or in another process."""
        return f"{self._name}.{next(self._names)}"

    def _recalled(self, record: str, known: Known) -> tuple[str, str, str, str]:
        """The envelope, generation and link's digest of a meeting that is known, and whether it is in doubt."""
        placed = known.placement
        if placed is None or placed.meeting is None:
            return "", "", "", ""
        generation, link = str(placed.spec.generation), digest(placed.meeting.join_url)
        return self.seal(record, placed), generation, link, str(int(known.doubt))

    def seal(self, record: str, placement: Placement) -> str:
        """A placement as an envelope: its join URL is nobody's business."""
        return self._rows.seal(record, placement)

    def standing(self, record: str, placement: Placement) -> dict[str, str]:
        """The fields of an entry whose meeting stands; its entrance, '' for none, in an envelope of its own."""
        return {**self._rows.standing(record, placement), "host_for": self._host_for(record, placement)}

    def _host_for(self, record: str, placement: Placement | None) -> str:
        """By which it is seen whether another person hosts a record's meeting, '' for none; it tells nobody who."""
        return self._tombs.name(f"{record}\0{placement.hosted_by}")[:12] if placement else ""

    def _call(self, verb: str, record: str, *rest: str | int | bytes) -> Awaitable[Any]:
        return self._store.call(SCRIPTS[verb], record_keys(record), (verb, record, *rest))

    def _claimed(self, answer: list[Any], until: float) -> Claimed:
        now, due, revision, *rest = answer
        leases = []
        for record, fence, inherited, flat in zip(*(rest[at::4] for at in range(4)), strict=True):
            try:
                entry = self._rows.entry(record, flat, now)
            except (UnknownKey, Damaged) as error:  # one unreadable record must not stop its whole shard
                _log.error("record_unreadable", record=record, reason=str(error))
                continue
            if entry:
                leases.append(Lease(entry, fence, until, bool(inherited)))
        return Claimed(leases, max(0.0, (float(due) - now) / 1000) if due else None, revision)
