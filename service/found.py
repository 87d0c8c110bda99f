"""Meetings that a sweep found and whose records the ledger does not know, until Vello speaks of them.

A provider knows a booking by a key that cannot be turned back into Vello's id, so what was found waits under its key.
The next event about the record has it take the meeting on; nothing is removed before.

Keys: `vm:found:<key>` (what was seen, in an envelope), until a day after the meeting's end, a year at most;
`vm:erased:<hash>`, which tells an erased record's key from an unknown one, 400 days.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from service.connections import UnknownConnection
from service.plan import key_of
from service.settings import Settings
from service.sightings import Recalled, Sighting, recalled
from service.store import Store
from service.swept import Swept
from service.tombs import Tombs
from service.vault import Damaged, UnknownKey, Vault
from service.vello import Record
from service.verbs import NOTHING, Known

DAY: Final = 86_400
FRESH: Final = 3600
"""Seconds for which what was seen is believed; later the meeting is looked at once more when it is taken on."""
ERASED: Final = 400 * DAY
"""Seconds for which an erased record's meetings are known as such."""
LONGEST: Final = 366 * DAY
"""Seconds a note is kept at most; each sweep that still sees its meeting writes it again."""
_BATCH: Final = 500  # keys in one round trip: after a loss there may be very many


class Found:
    """Notes of what was found. All verbs raise StoreUnavailable."""

    def __init__(self, store: Store, vault: Vault, settings: Settings, swept: Swept, tombs: Tombs) -> None:
        self._store = store
        self._vault = vault
        self._tombs = tombs
        self._settings = settings
        self._swept = swept

    async def note(self, seen: Mapping[str, Sequence[Sighting]], began: int) -> None:
        """Remember what a sweep that began then has seen for each key."""
        now, commands = time.time(), list[tuple[str | int, ...]]()
        for key, sightings in seen.items():
            ends = max(min(each.ends, now + LONGEST) for each in sightings)
            text = json.dumps([began, [each.dump() for each in sightings]])
            row = self._vault.seal(text, _purpose(key))
            commands.append(("SET", _note(key), row, "EX", max(DAY, int(ends - now) + DAY)))
        await self._store.pipeline(commands)

    async def of(self, key: str) -> tuple[int, list[Sighting]]:
        """When the sweep began that saw something for a key, and what it saw that no later sweep has missed.

        A note that cannot be opened is none: the next sweep writes it again.
        """
        row = await self._store.execute("GET", _note(key))
        try:
            began, rows = json.loads(self._vault.open(row, _purpose(key))) if row else (0, [])
        except (UnknownKey, Damaged):
            return 0, []
        seen = [Sighting.load(each) for each in rows]
        looked = await self._swept.at({each.connection for each in seen})
        return int(began), [each for each in seen if began >= looked[each.connection]]

    async def forget(self, keys: Iterable[str]) -> None:
        """Forget what was seen."""
        commands = [("DEL", _note(key)) for key in keys]
        if commands:
            await self._store.pipeline(commands)

    async def erased(self, record: str) -> None:
        """Remember that a record was erased, by the key that its meetings carry."""
        key = key_of(record)
        await self._store.pipeline([("SET", self._tomb(key), 1, "EX", ERASED), ("DEL", _note(key))])

    async def were_erased(self, keys: Sequence[str]) -> set[str]:
        """Those of `keys` whose records were erased."""
        found = set[str]()
        for at in range(0, len(keys), _BATCH):
            some = keys[at : at + _BATCH]
            held = await self._store.pipeline([("EXISTS", self._tomb(key)) for key in some])
            found |= {key for key, there in zip(some, held, strict=True) if int(there)}
        return found

    async def known(self, record: Record, realm: str) -> Known:
        """What is known of an event's record from elsewhere than the ledger."""
        since, any_ = await self._swept.glance()
        older = record.created is not None and record.created < since
        took = await self.recall(record, realm) if any_ else None
        if took:
            return Known(took.placement, took.doubt, older)
        return Known(older=True) if older else NOTHING

    async def recall(self, record: Record, realm: str) -> Recalled | None:
        """The meeting that a record without one is to take on."""
        began, seen = await self.of(key_of(record.id))
        took = self.recalled(record, realm, seen) if seen else None
        return took._replace(doubt=took.doubt or time.time() - began > FRESH) if took else None

    def recalled(self, record: Record, realm: str, seen: Sequence[Sighting]) -> Recalled | None:
        """Which of these meetings a record without one is to take on."""
        connections, choice = self._settings.connections, self._settings.choices.of(record.office, realm)
        mine = self.within(seen, realm, choice.connection if choice else None)
        return recalled(mine, record, choice, self.same_host, connections.capabilities)

    def within(self, seen: Iterable[Sighting], realm: str, *chosen: str | None) -> list[Sighting]:
        """What was seen where a company may have meetings: at its own accounts, at those for all, and at the `chosen`.

        After a store was lost, whoever speaks of a booking first is believed; another company's meeting is not theirs.
        """
        rows = {row.id: row.company for row in self._settings.connections.all()}
        mine = {id_ for id_, company in rows.items() if company in (None, realm or "own") or id_ in chosen}
        return [each for each in seen if each.connection in mine]

    async def unseen(self, connection: str) -> bool:
        """Whether a connection may have meetings that no sweep has seen since the store is whole."""
        return not await self._swept.looked(connection)

    def _tomb(self, key: str) -> str:
        return f"vm:erased:{self._tombs.name(key)}"

    def same_host(self, connection: str, one: str | None, other: str | None) -> bool:
        """Whether two names of a connection are one person's."""
        connections = self._settings.connections
        try:
            return connections.host_of(connection, one) == connections.host_of(connection, other)
        except UnknownConnection:
            return one == other


def _note(key: str) -> str:
    return f"vm:found:{key}"


def _purpose(key: str) -> str:
    return f"found:{key}"
