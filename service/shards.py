"""Where the store keeps what: the shard of a record, and the names of its keys.

Everything about a record lies in one of 64 shards, so that a script never crosses the slots of a Cluster. n is its
number::

    vm:{s<n>}:due            records by the time somebody must look at them      no TTL
    vm:{s<n>}:index          records by the start of their meeting               no TTL
    vm:{s<n>}:rev            revision of the settings                            no TTL
    vm:{s<n>}:r:<record>     the entry           vm:{s<n>}:j:<record>   its journal
    vm:{s<n>}:m:<token>      link token -> record
    vm:{s<n>}:h:<hash>       hash of the token of a host's link -> record
    vm:{s<n>}:parked:<id>    records that wait for a connection to be reconnected
    vm:{s<n>}:failed         records that were given up, by the start of their meeting
    vm:{s<n>}:t:<hash>       tomb of an erased record
    vm:wake                  channel: the shard in which something became due
"""

import hashlib
import secrets
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Final

SHARDS: Final = 64
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def shard_of(record: str) -> int:
    """The shard that holds a record."""
    return zlib.crc32(record.encode()) % SHARDS


def letter_of(record: str) -> str:
    """How a link token begins: it names its record's shard."""
    return _ALPHABET[shard_of(record)]


def letters() -> Iterator[str]:
    """22 random letters (132 bits) again and again; many at once, since asking costs more than they do."""
    while True:
        block = secrets.token_urlsafe(1056)
        yield from (block[at : at + 22] for at in range(0, len(block), 22))


def shard_behind(token: str) -> int:
    """The shard that a link token names; -1 where it cannot be one."""
    return _ALPHABET.find(token[:1]) if len(token) == 23 else -1


def name_of(token: str) -> str:
    """What the token of a host's link is known by, so that no link can be read in a key."""
    return hashlib.sha256(token.encode()).hexdigest()[:32]


def token_in(record: str, name: str) -> str:
    """The link token that a page of ours has, '' if no page of this record can have it."""
    plain = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if plain and shard_behind(name) == shard_of(record) else ""


def base(shard: int) -> str:
    """How every key of a shard begins."""
    return f"vm:{{s{shard}}}:"


@cache
def shard_keys(shard: int) -> tuple[str, ...]:
    """What every script of a shard is given: its due set, its index, its revision of the settings."""
    begin = base(shard)
    return (f"{begin}due", f"{begin}index", f"{begin}rev")


def shard_sets(shard: int) -> tuple[str, str]:
    """The sorted sets that between them name every record of a shard."""
    due, index, *_ = shard_keys(shard)
    return index, due


def record_keys(record: str) -> tuple[str, ...]:
    """What every script of a record is given: its shard's keys, its entry, its journal."""
    shard = shard_of(record)
    begin = base(shard)
    return (*shard_keys(shard), f"{begin}r:{record}", f"{begin}j:{record}")


def entry_key(record: str) -> str:
    """Where a record's entry is stored."""
    return record_keys(record)[3]
