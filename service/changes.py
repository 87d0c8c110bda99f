"""Who changed what in the settings, and when: kept so that a surprise can be traced to its cause.

Key: `vm:changes`, the last thousand, 400 days after the last one.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from service.store import Store

KEPT: Final = 1000
"""Changes that are remembered."""
LIFE: Final = 400 * 86_400
"""Seconds for which they are, from the last one."""

_CHANGES = "vm:changes"


@dataclass(frozen=True, slots=True)
class Change:
    """One change: of what (`office`, `connection`, `company`) and which one; `fields` were [before, after].

    `did` is `set`, `added`, `removed` or `given` (to another company); `at` in unix seconds. Secrets are never in it.
    """

    at: int
    who: str
    what: str
    id: str
    did: str
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


class Changes:
    """The log of all processes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def note(
        self, who: str, what: str, id_: str, did: str, fields: Mapping[str, tuple[Any, Any]] | None = None
    ) -> None:
        """Remember that somebody did something; the oldest is forgotten."""
        row = json.dumps(asdict(Change(int(time.time()), who, what, id_, did, fields or {})))
        await self._store.pipeline(
            [("LPUSH", _CHANGES, row), ("LTRIM", _CHANGES, 0, KEPT - 1), ("EXPIRE", _CHANGES, LIFE)]
        )

    async def of(self, what: str | None = None, id_: str | None = None, limit: int = 100) -> list[Change]:
        """The latest changes, of one kind and one thing if you like, the newest first."""
        rows = [Change(**json.loads(row)) for row in await self._store.execute("LRANGE", _CHANGES, 0, KEPT - 1)]
        found = [row for row in rows if what in (None, row.what) and id_ in (None, row.id)]
        return found[:limit]


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The fields that differ, each with what it was and what it is."""
    names = [*after, *(name for name in before if name not in after)]
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def since(changes: Sequence[Change], read_at: str) -> list[Change]:
    """Those that came after a form was shown, at the unix time that it says; all where it says none."""
    at = int(read_at) if read_at.isdecimal() and len(read_at) < 12 else 0
    return [change for change in changes if change.at >= at]
