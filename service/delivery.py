"""A line of the delivery log: one event that came in, or one call of a provider that went out. Pure.

A line is JSON, short names of its fields first, because there are many of them. What an event said stands in it sealed,
as little as it takes to apply it again: no name, no metadata, and of links only that of the booking's page here.
"""

import base64
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

import orjson

from service.vello import Event, Rank, Record

ID: Final = r"^\d{1,14}\.(\d{1,2}|apart)\.[0-9a-f]{9,24}$"
"""How a line's id looks: when it came (ms), where it is, and a name."""
UUID: Final = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
"""How the ids of Vello look."""
is_delivery = re.compile(ID.strip("^$")).fullmatch
EVENT: Final = "e"
CALL: Final = "c"
NOWHERE: Final = "?"
"""The realm of what came to no company that we know."""
FINE: Final = frozenset({"new", "old", "same", "no_record", "erased", "ok", "MeetingNotFound"})
"""Verdicts of events and outcomes of calls that need nobody."""
_IDS = ("company", "office", "resource", "service", "user", "customer")
_REST = ("start", "duration", "language", "record_number", "archived")
_ids, _rest = attrgetter(*_IDS), attrgetter(*_REST)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One line. `at` in unix seconds, `milliseconds` how long the answer took; None where it is not known.

    `kind` is event or call; `verdict` what became of it: the ledger's word for an event (new, old, same), or no_record,
    refused (`code` says why), erased, unavailable, disconnected, failed; ok or the name of the error for a call.
    `realm` is the company whose webhook it came by, '' the installation's own, NOWHERE none. `times`: so often it was
    repeated within a second, and answered alike. `again` is the line that was replayed here.
    """

    id: str
    at: float
    kind: str
    record: str | None
    realm: str
    verdict: str
    type: str | None = None
    event: str | None = None
    version: int | None = None
    code: str | None = None
    connection: str | None = None
    provider: str | None = None
    verb: str | None = None
    status: int | None = None
    attempt: int | None = None
    milliseconds: float | None = None
    times: int = 1
    again: str | None = None
    content: str | None = None

    def __repr__(self) -> str:
        return f"Delivery(id={self.id!r}, kind={self.kind!r}, verdict={self.verdict!r})"

    @property
    def failing(self) -> bool:
        """It did not do what it was to do."""
        return self.verdict not in FINE

    @property
    def replayable(self) -> bool:
        """What it said is known, so that it can be applied again."""
        return self.content is not None


def head(nonce: str, event: Event, realm: str) -> str:
    """How an event's line begins; its verdict, and no more, makes it a whole one: see `ended`."""
    record = event.record
    about = (record.id, record.version) if record else ("", None)
    return orjson.dumps([nonce, EVENT, about[0], realm, event.type, event.id, about[1]])[:-1].decode() + ',"'


def ended(head: str, verdict: str) -> str:
    """The line as the ledger writes it."""
    return f'{head}{verdict}"]'


def answered(
    head: str,
    verdict: str,
    code: str | None,
    connection: str | None,
    milliseconds: float,
    times: int,
    again: str | None,
    content: str | None,
) -> str:
    """The line of an event with its answer."""
    rest = orjson.dumps([code, connection, milliseconds, times, again, content]).decode()
    return f'{head}{verdict}",{rest[1:]}'


def nameless(nonce: str, realm: str, kind: str, verdict: str, code: str | None, milliseconds: float, times: int) -> str:
    """The line of an event that belongs to no record we follow, or to one that was erased."""
    return orjson.dumps([nonce, EVENT, "", realm, kind, "", None, verdict, code, None, milliseconds, times]).decode()


def called(
    nonce: str,
    record: str,
    realm: str,
    connection: str,
    provider: str,
    verb: str,
    outcome: str,
    milliseconds: float,
    attempt: int,
    status: int | None,
) -> str:
    """The line of a call."""
    what = [nonce, CALL, record, realm, connection, provider, verb, outcome, milliseconds, attempt, status]
    return orjson.dumps(what).decode()


def read(line: str, at_ms: int, shard: str) -> Delivery:
    """The inverse of all of these; `shard` is where it was found."""
    nonce, kind, record, realm, *rest = orjson.loads(line)
    id_, at = f"{at_ms}.{shard}.{nonce}", at_ms / 1000
    if kind == CALL:
        connection, provider, verb, outcome, took, attempt, status = rest[:7]
        return Delivery(
            id_,
            at,
            "call",
            record or None,
            realm,
            outcome,
            connection=connection,
            provider=provider,
            verb=verb,
            status=status,
            attempt=attempt,
            milliseconds=took,
        )
    type_, event, version, verdict, *answer = rest
    code, connection, took, times, again, content = (*answer, *([None] * (6 - len(answer))))[:6]
    return Delivery(
        id_,
        at,
        "event",
        record or None,
        realm,
        verdict,
        type=type_,
        event=event or None,
        version=version,
        code=code,
        connection=connection,
        milliseconds=took,
        times=times or 1,
        again=again,
        content=content,
    )


def packed(record: Record, foreign: str) -> str:
    """What an event said of a record, to be sealed; `foreign` is the digest of a video link that is not ours.

    One of ours is the page's of the booking, and stays it.
    """
    page = None if foreign else record.video_link
    ids = [_short(each) for each in _ids(record)]
    return orjson.dumps([int(record.rank), record.changed, foreign, record.created, page, ids, *_rest(record)]).decode()


def unpacked(line: Delivery, content: str) -> tuple[Event, str]:
    """The event and the digest of its foreign link, from what `packed` made."""
    rank, changed, foreign, created, link, ids, *rest = orjson.loads(content)
    fields: Mapping[str, Any] = {
        **dict(zip(_IDS, (_long(each) for each in ids), strict=True)),
        **dict(zip(_REST, rest, strict=True)),
    }
    record = Record(
        id=line.record or "",
        rank=Rank(rank),
        version=line.version,
        changed=changed,
        created=created,
        video_link=link,
        **fields,
    )
    return Event(line.event or "", line.type or "", record), foreign


def content_purpose(record: str) -> str:
    """What the envelope with an event's content is bound to."""
    return f"delivery:{record}"


@lru_cache(1024)
def _short(id_: str | None) -> str | None:
    return base64.b64encode(bytes.fromhex(id_.replace("-", "")))[:22].decode() if id_ else None


def _long(short: str | None) -> str | None:
    return str(uuid.UUID(bytes=base64.b64decode(f"{short}=="))) if short else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines somebody looks for: those that fit all that is given. Times in unix seconds, `until` excluded."""

    since: float = 0
    until: float | None = None
    record: str | None = None
    kind: str | None = None
    type: str | None = None
    verdict: str | None = None
    connection: str | None = None
    failing: bool = False

    def fits(self, line: Delivery) -> bool:
        """Whether a line is one of them, as far as its time and its record do not say so already."""
        asked = ((self.kind, line.kind), (self.type, line.type), (self.verdict, line.verdict))
        return (
            all(wanted in (None, has) for wanted, has in asked)
            and self.connection in (None, line.connection)
            and (line.failing or not self.failing)
        )
