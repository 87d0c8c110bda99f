"""Forms that were sent without a living session: kept for their sender until after the login.

Keys: `vm:kept:<hash of a random name and the browser's>`, a quarter of an hour, in an envelope; `vm:kept:count`, five
minutes.
"""

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from service.store import Store
from service.vault import Damaged, UnknownKey, Vault

LIFE: Final = 900
"""Seconds a form is kept."""
LARGEST: Final = 32 * 1024
"""Characters of the largest form that is kept."""
MOST: Final = 200
"""Forms kept in five minutes, over all processes: who has no session must not fill the store."""
WINDOW: Final = 300
"""Seconds in which so many are kept."""
HUSHED: Final = "secret."
"""What names of fields begin with that are never kept: they are typed again."""

_COUNT: Final = "vm:kept:count"


@dataclass(frozen=True, slots=True)
class Form:
    """Where a form was sent, and what was typed."""

    path: str
    fields: tuple[tuple[str, str], ...]


class Kept:
    """All kept forms of all processes."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    async def put(self, browser: str, path: str, fields: Sequence[tuple[str, str]]) -> str | None:
        """Keep a form; answers the name that gives it back to this browser alone, None when it is not kept."""
        plain = [pair for pair in fields if not pair[0].startswith(HUSHED) and pair[0] != "form_token"]
        text = json.dumps([path, plain])
        if len(text) > LARGEST:
            return None
        if not await self._counted():
            return None
        name = secrets.token_urlsafe(24)
        key = _key(browser, name)
        await self._store.execute("SET", key, self._vault.seal(text, key), "EX", LIFE)
        return name

    async def _counted(self) -> bool:
        """Count one more; the window began with the first, so that it ends however many come."""
        # Begun and counted in one go: a process that died between the two would leave a count without an end.
        begin = ("SET", _COUNT, 0, "EX", WINDOW, "NX")
        _, count = await self._store.pipeline([begin, ("INCR", _COUNT)])
        if count == 1:  # the window before may have ended between the two
            await self._store.execute("EXPIRE", _COUNT, WINDOW)
        return int(count) <= MOST

    async def get(self, browser: str, name: str) -> Form | None:
        """The form of a name, None when there is none any more, or when another browser sent it."""
        key = _key(browser, name)
        held = await self._store.execute("GET", key)
        if held is None:
            return None
        try:
            path, fields = json.loads(self._vault.open(held, key))
        except (UnknownKey, Damaged):
            return None
        return Form(path, tuple((key, value) for key, value in fields))


def _key(browser: str, name: str) -> str:
    return f"vm:kept:{hashlib.sha256(f'{browser} {name}'.encode()).hexdigest()[:32]}"
