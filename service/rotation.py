"""Seals everything in the store with the newest key, so that an older one can be taken out of SECRET_KEYS.

Each secret is replaced only if it is still the one that was read, so services may run meanwhile, and a rotation that
was interrupted is simply begun again. What lives for minutes only, such as an account that is just being connected, is
left alone.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from service.companies import COMPANIES, company_purpose
from service.connections import CONNECTIONS, connection_purpose
from service.deliveries import Deliveries
from service.entry import entrance_purpose, host_purpose, meeting_purpose
from service.errands import ERRANDS, errand_purpose
from service.grants import grant_key, own_id, token_purpose
from service.shards import SHARDS, entry_key, shard_sets
from service.store import Script, Store
from service.tombs import TOMBS, TOMBS_FIELD, TOMBS_PURPOSE
from service.vault import Damaged, UnknownKey, Vault

KEYS: Final = "vm:keys"
"""Key id -> fingerprint of every key that sealed something here; no TTL."""
BATCH: Final = 200
"""Records read in one round trip, about."""
PASSES: Final = 3
"""Looks at everything, until one finds nothing to do: a service may have sealed something meanwhile."""

# KEYS 1 a hash; ARGV 1 field 2 the value that was read 3 the one to put in its place. Answers 1 if it was still there.
_SWAP = Script(
    "if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end "
    "redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) return 1"
)
# KEYS 1 a sorted set; ARGV 1 cursor 2 count. Answers the next cursor and the members.
_SCAN = Script(
    "local page = redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2]) local out = {page[1]} "
    "for i = 1, #page[2], 2 do out[#out + 1] = page[2][i] end return out"
)

_Swap = tuple[tuple[str], tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Rotated:
    """What was sealed anew, by kind; what could not be opened, by why; which keys nothing needs any more."""

    sealed: Mapping[str, int]
    unreadable: Mapping[str, int]
    retired: tuple[str, ...]


class Rotation:
    """One run over everything."""

    def __init__(self, store: Store, vault: Vault, active: str, deliveries: Deliveries) -> None:
        self._store = store
        self._vault = vault
        self._active = active
        self._deliveries = deliveries
        self._unreadable: Counter[str] = Counter()

    async def run(self) -> Rotated:
        """Seal everything anew and forget the keys that nothing needs any more."""
        sealed: Counter[str] = Counter()
        for _ in range(PASSES):
            self._unreadable.clear()
            found = await self._pass()
            sealed.update(found)
            if not +found:
                break
        else:
            self._unreadable["A running service still seals with an old key; restart it, then rotate again."] += 1
        retired: list[str] = []
        if not self._unreadable:
            known = await self._store.execute("HKEYS", KEYS)
            retired = sorted(set(known) - {self._active})
            for key_id in retired:
                await self._store.execute("HDEL", KEYS, key_id)
        return Rotated(sealed, dict(self._unreadable), tuple(retired))

    async def _pass(self) -> Counter[str]:
        connections = await self._store.execute("HGETALL", CONNECTIONS)
        companies = await self._store.execute("HGETALL", COMPANIES)
        done = Counter(connections=await self._swap(list(self._rows(CONNECTIONS, connections, "envelope"))))
        done["companies"] = await self._swap(list(self._rows(COMPANIES, companies, "tokens")))
        done["grants"] = await self._grants(connections)
        for shard in range(SHARDS):
            for key in shard_sets(shard):
                done["records"] += await self._records(key)
        done["tombs"] = await self._tombs()
        errands = await self._store.execute("HGETALL", ERRANDS)
        done["errands"] = await self._swap(list(self._rows(ERRANDS, errands, "what")))
        done["deliveries"] = await self._deliveries.reseal(self._anew)
        return done

    def _rows(self, key: str, rows: Mapping[str, str], name: str) -> Iterator[_Swap]:
        """Rows that are JSON with an envelope in it."""
        purpose = {CONNECTIONS: connection_purpose, COMPANIES: company_purpose, ERRANDS: errand_purpose}[key]
        for id_, row in rows.items():
            fields = json.loads(row)
            if fields[name] and (anew := self._anew(fields[name], purpose(id_))):
                yield (key,), (id_, row, json.dumps({**fields, name: anew}))

    async def _grants(self, connections: Mapping[str, str]) -> int:
        """Each connection's grant, and the token of one that gets it by itself.

        Such a token goes by the envelope of before: processes use it until they see the new one, and then get another.
        """
        owners = {}
        for id_, row in connections.items():
            fields = json.loads(row)
            owners[fields.get("grant") or own_id(fields["provider"], id_, fields["envelope"])] = fields["provider"]
        held = await self._store.pipeline([("HGET", grant_key(grant), "token") for grant in owners]) if owners else []
        swaps: list[_Swap] = []
        for (grant, provider), envelope in zip(owners.items(), held, strict=True):
            if envelope and (anew := self._anew(envelope, token_purpose(provider, grant))):
                swaps.append(((grant_key(grant),), ("token", envelope, anew)))
        return await self._swap(swaps)

    async def _tombs(self) -> int:
        """The key that names the tombs of erased records."""
        held = await self._store.execute("HGET", TOMBS, TOMBS_FIELD)
        anew = self._anew(held, TOMBS_PURPOSE) if held else None
        return await self._swap([((TOMBS,), (TOMBS_FIELD, held, anew))]) if anew else 0

    async def _records(self, key: str) -> int:
        done, cursor = 0, "0"
        while True:
            cursor, *records = await self._store.call(_SCAN, (key,), (cursor, BATCH))
            if records:
                flats = await self._store.pipeline([("HGETALL", entry_key(record)) for record in records])
                swaps = [
                    swap for record, flat in zip(records, flats, strict=True) for swap in self._entry(record, flat)
                ]
                done += await self._swap(swaps)
            if cursor == "0":
                return done

    def _entry(self, record: str, flat: Any) -> Iterator[_Swap]:
        row = flat if isinstance(flat, dict) else dict(zip(flat[0::2], flat[1::2], strict=True))
        for name, envelope in row.items():
            if name not in ("meeting", "intent", "entrance", "host") and not name.startswith("x:"):
                continue
            purpose = {"entrance": entrance_purpose, "host": host_purpose}.get(name, meeting_purpose)(record)
            if envelope and (anew := self._anew(envelope, purpose)):
                yield (entry_key(record),), (name, envelope, anew)

    def _anew(self, envelope: str, purpose: str) -> str | None:
        """The same secret under the newest key, None if that one sealed it."""
        try:
            if self._vault.needs_rotation(envelope):
                return self._vault.seal(self._vault.open(envelope, purpose), purpose)
        except (UnknownKey, Damaged) as error:
            self._unreadable[str(error)] += 1
        return None

    async def _swap(self, swaps: list[_Swap]) -> int:
        return sum(await self._store.pipeline_call(_SWAP, swaps)) if swaps else 0
