"""What Vello wants of a record, as the ledger stores it and tells whether it has changed. Pure."""

import hashlib
from functools import lru_cache
from operator import attrgetter
from typing import Final

import orjson

from service.vello import Record

KEPT: Final = 1024
"""Wishes kept as they were read: a run reads the same ones at each of its steps."""

_CONTENT = ("company", "office", "resource", "service", "user", "customer", "start", "duration")
_STORED = (*_CONTENT, "language", "record_number", "archived")
_stored = attrgetter(*_STORED)


def content_of(record: Record) -> bytes:
    """What is stored of a record, nothing where an event told only that it ended."""
    return b"" if record.partial else orjson.dumps(_stored(record))


def fingerprint_of(content: bytes) -> str:
    """By which the same content is known again, '' for none."""
    return hashlib.sha256(content).hexdigest()[:16] if content else ""


@lru_cache(KEPT)
def wish_of(record: str, content: str) -> Record:
    """The inverse of `content_of`."""
    return Record(id=record, **dict(zip(_STORED, orjson.loads(content), strict=True)))
