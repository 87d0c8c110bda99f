"""Vello's side of the contract: its signature, its events, its records. Pure: bytes in, values or an error out.

Source: Vello's "Events and Webhooks" page. Vello sends a record in one of two shapes, as `data` itself or under
`data.object`; a cancelled or deleted event may carry nothing but the record's id.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

SIGNATURE_HEADER = "vello-signature"
MAX_BODY = 256 * 1024
"""Largest event accepted, in bytes."""

UPDATE_METADATA = "record.update_metadata"
CONNECTION_TEST = "connection.test"
CANCELLED = "record.cancelled"
DELETED = "record.deleted"
RECORD_EVENTS = frozenset({"record.created", "record.updated", CANCELLED, DELETED, UPDATE_METADATA})

_MAX_TIME = 7_258_118_400  # year 2200: later than any booking, early enough to catch milliseconds
MAX_DURATION = 31 * 86_400
_MAX_COUNTER = 2**53 - 1  # Lua's numbers are doubles
is_uuid = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE).fullmatch
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8}){0,3}")
_MAX_TEXT = 2_000
_MAX_DEPTH = 32  # of nested objects and lists; Vello's own events have four


class SignatureInvalid(Exception):
    """The event was not signed by Vello with a token and for an endpoint URL that we know."""


class InvalidEvent(Exception):
    """The body is not an event Vello could mean; `code` is for programs, `message` one sentence for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Rank(IntEnum):
    """What a record's state outranks when nothing else orders two events. Deleted is final."""

    LIVE = 0
    CANCELLED = 1
    DELETED = 2


class Record(NamedTuple):
    """A booking as one event states it. Times are UTC unix seconds, `duration` seconds.

    `start` and `duration` are None when a cancelled or deleted event carried only the id. `video_link` is what
    Vello holds in the record's metadata, ours or somebody else's. `created` is when Vello made the record.
    """

    id: str
    rank: Rank = Rank.LIVE
    company: str | None = None
    office: str | None = None
    resource: str | None = None
    service: str | None = None
    user: str | None = None
    customer: str | None = None
    start: int | None = None
    duration: int | None = None
    language: str | None = None
    record_number: str | None = None
    archived: bool = False
    version: int | None = None
    changed: int | None = None
    video_link: str | None = None
    created: int | None = None

    def __repr__(self) -> str:
        return f"Record(id={self.id!r}, rank={self.rank!r}, version={self.version}, changed={self.changed})"

    @property
    def partial(self) -> bool:
        """True when the event told that the record ended, but not what it was."""
        return self.start is None or self.duration is None


class Event(NamedTuple):
    """One thing that Vello says. `record` is None for events that are not about a record we follow."""

    id: str
    type: str
    record: Record | None


def sign(token: str, endpoint_url: str, body: bytes) -> str:
    """The signature Vello puts on `body`: lower-case hex SHA-512 of token, endpoint URL and raw body."""
    return hashlib.sha512(_signed(token, endpoint_url) + body).hexdigest()


@lru_cache(64)
def _signed(token: str, endpoint_url: str) -> bytes:
    return f"{token}{endpoint_url}".encode()


def verify(body: bytes, signature: str | None, tokens: Iterable[str], endpoint_urls: Iterable[str]) -> None:
    """Raise `SignatureInvalid` unless one token with one endpoint URL signs `body`.

    Every pair is compared, in constant time, so the answer's time tells nothing of which one was close.
    """
    given = (signature or "").encode("latin-1", "replace")
    urls = tuple(endpoint_urls)
    good = False
    for token in tokens:
        for url in urls:
            good |= hmac.compare_digest(sign(token, url, body).encode(), given)
    if not good:
        raise SignatureInvalid("the Vello-Signature header is missing or does not match")


def parse(body: bytes) -> Event:
    """The event that `body` states.

    Raises: InvalidEvent for anything Vello cannot mean; unknown fields and unknown event types are no error.
    """
    event = _load(body)
    if not isinstance(event, dict):
        raise InvalidEvent("invalid_event", "The body is JSON but not an event: an object was expected.")
    event_type, event_id = _short(event, "type"), _short(event, "id")
    if event_type not in RECORD_EVENTS:
        return Event(event_id, event_type, None)
    data = event.get("data")
    if isinstance(data, dict) and isinstance(data.get("object"), dict):
        data = data["object"]
    if not isinstance(data, dict):
        raise InvalidEvent("invalid_event", "The event carries no record: an object was expected in `data`.")
    return Event(event_id, event_type, _record(data, event_type))


def _short(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 200 or not value.isprintable():
        raise InvalidEvent("invalid_event", f"The event's `{name}` is missing or not a short line of text.")
    return value


def _load(body: bytes) -> Any:
    event = _read(body)
    if body.count(b"{") + body.count(b"[") > _MAX_DEPTH:  # else it cannot be that deep
        _check_depth(event)
    if b"\\u0000" in body and _has_nul(event):
        raise InvalidEvent("invalid_event", "The event contains a NUL character.")
    return event


def _read(body: bytes) -> Any:
    try:
        event = orjson.loads(body)  # the fastest, but it lets a field come twice
        same = _quotes(body) == _quotes(orjson.dumps(event))  # a field that came twice left some behind
    except (ValueError, TypeError):  # the latter is what it says when it cannot write as deep as it reads
        return _patiently(body)
    return event if same else _patiently(body)


def _patiently(body: bytes) -> Any:
    try:
        return _decode(body.decode())
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise InvalidEvent("invalid_json", "The body is not valid JSON in UTF-8.") from None


def _quotes(text: bytes) -> int:
    """How many quotes begin or end strings; a string that ends in a backslash hides one of its two."""
    return text.count(b'"') - (text.count(b'\\"') if b"\\" in text else 0)


def _too_deep() -> InvalidEvent:
    return InvalidEvent("invalid_json", "The body is nested too deeply.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidEvent("invalid_json", "The body names a field twice, so what it means is unclear.")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(name)


_decode = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant).decode


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_MAX_DEPTH):
        nested = [item for item in level if isinstance(item, dict | list)]
        level = [inner for item in nested for inner in (item.values() if isinstance(item, dict) else item)]
        if not level:
            return
    raise _too_deep()


def _has_nul(value: Any) -> bool:
    """Whether a string in `value` has a NUL; its depth is bounded, because the parser has accepted it."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack.extend(item.keys())
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, str) and "\0" in item:
            return True
    return False


def _record(data: Mapping[str, Any], event_type: str) -> Record:
    get = data.get
    record_id = _uuid("id", get("id"))
    if record_id is None:
        raise _wrong("id", "a UUID")
    start = _integer("time", get("time"), _MAX_TIME)
    duration = _integer("duration", get("duration"), MAX_DURATION)
    ends = event_type in (CANCELLED, DELETED)
    if not ends and start is None:
        raise _wrong("time", "unix seconds")
    if not ends and duration is None:
        raise _wrong("duration", "seconds")
    archived = _flag("archived", get("archived"))
    rank = Rank.CANCELLED if _flag("canceled", get("canceled")) or archived else Rank.LIVE
    if event_type == CANCELLED:
        rank = Rank.CANCELLED
    elif event_type == DELETED:
        rank = Rank.DELETED
    return Record(  # by place: names cost, and every event comes through here
        record_id,
        rank,
        _known("company", get("company")),
        _known("office", get("office")),
        _known("resource", get("resource")),
        _known("service", get("service")),
        _uuid("user", get("user")),
        _uuid("customer", get("customer")),
        start,
        duration,
        _language(get("language")),
        _number(get("record_number")),
        archived,
        _integer("version", get("version"), _MAX_COUNTER),
        _integer("changed", get("changed"), _MAX_TIME),
        _video_link(get("metadata")),
        _created(get("created")),
    )


def _wrong(name: str, expected: str) -> InvalidEvent:
    return InvalidEvent("invalid_record", f"The record's `{name}` is missing or wrong: {expected} expected.")


def _uuid(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not is_uuid(value):
        raise _wrong(name, "a UUID")
    return value.lower()


def _known(name: str, value: Any) -> str | None:
    """One that comes again and again; checked once."""
    return _canonical(name, value) if isinstance(value, str) else _uuid(name, value)


_canonical = lru_cache(4096)(_uuid)


def _integer(name: str, value: Any, most: int) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= most:
        raise _wrong(name, f"a whole number from 0 to {most}")
    return value


def _flag(name: str, value: Any) -> bool:
    if value is not None and not isinstance(value, bool):
        raise _wrong(name, "true or false")
    return bool(value)


def _text(value: Any, name: str) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not value.isprintable():
        raise _wrong(name, "a line of text")
    return value


def _language(value: Any) -> str | None:
    """The record's language tag; an odd one is no reason to refuse a booking, the page then asks the browser."""
    text = _text(value, "language")
    return text if text and _LANGUAGE.fullmatch(text) else None


def _number(value: Any) -> str | None:
    return str(value) if type(value) is int else _text(value, "record_number")


def _created(value: Any) -> int | None:
    """When the record was made; nothing but a hint, so what makes no sense is no error."""
    return value if type(value) is int and 0 <= value <= _MAX_TIME else None


def _video_link(metadata: Any) -> str | None:
    if metadata is None or metadata == []:
        return None
    if not isinstance(metadata, dict):
        raise _wrong("metadata", "an object")
    return _text(metadata.get("video_link"), "metadata.video_link")
