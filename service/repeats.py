"""Questions that Vello asks again and whose answer holds, which is most of what it sends: one small call of the store.

The ledger's `accept` answers them alike; here it is asked less, where this process has answered so before.
"""

from collections import OrderedDict
from importlib import resources
from typing import Any, Final

from service.rows import Rows, content_of, digest_of
from service.shards import base, shard_of
from service.store import Script, Store
from service.vello import Rank, Record
from service.verbs import DIRECT, Accepted, Told

SOURCE: Final = resources.files("service").joinpath("repeated.lua").read_text()
_SCRIPT: Final = Script(
    f"{SOURCE}local at = redis.call('TIME')\n"
    "return repeated(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], at[1] * 1000 + math.floor(at[2] / 1000))"
)
_KEPT: Final = 4096


def orders_of(record: Record) -> tuple[str | int, str | int]:
    """By which a newer word about a record is told from an older one, '' for what it does not say."""
    version, changed = record.version, record.changed
    return "" if version is None else version, "" if changed is None else changed


class Repeats:
    """The records whose question was answered from memory, the last ones: a hint that it may be so again."""

    def __init__(self, store: Store, rows: Rows) -> None:
        self._store = store
        self._rows = rows
        self._records: OrderedDict[str, None] = OrderedDict()

    async def answer(self, record: Record, realm: str) -> Accepted | None:
        """What `accept` answers, None where the ledger must look. Raises StoreUnavailable."""
        if record.id not in self._records or record.rank is not Rank.LIVE:
            return None
        begin = base(shard_of(record.id))
        said = (realm, *orders_of(record), digest_of(content_of(record)))
        answer = await self._store.call(_SCRIPT, (f"{begin}rev", f"{begin}r:{record.id}"), said)
        if answer is None:
            self._records.pop(record.id, None)
            return None
        return self.told(record.id, answer)

    def told(self, record: str, answer: list[Any]) -> Accepted:
        """The ledger's answer where Vello is told again what it was told."""
        self._records[record] = None
        if len(self._records) > _KEPT:
            self._records.popitem(last=False)
        verdict, fence, _, now, revision, said, token, envelope = answer
        placed = self._rows.placement(record, envelope) if said[0] == DIRECT else None
        direct = placed.meeting.join_url if placed and placed.meeting else None
        told = Told(said[1:] or None, None if direct else token, direct)
        return Accepted(verdict, None, None, revision, now // 1000, told, noted=fence == -1)
