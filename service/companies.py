"""Companies that send us events: the installation's own, from the environment, and those added in settings.

Keys: `vm:companies` (id -> name, endpoint URL, tokens in an envelope) and `vm:reached` (company -> when its last
connection.test came); neither has a TTL.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from service.store import Store, version_of
from service.vault import Vault

OWN: Final = ""
"""The realm of the installation's own company."""

COMPANIES: Final = "vm:companies"

_REACHED = "vm:reached"


@dataclass(frozen=True, slots=True)
class Company:
    """Who may send events to one webhook URL; `tokens` are what Vello signs with, all of them valid."""

    id: str
    name: str
    endpoint_urls: tuple[str, ...]
    tokens: tuple[str, ...] = field(repr=False)


def company_purpose(company: str) -> str:
    """What the envelope with a company's tokens is bound to."""
    return f"company:{company}"


class Companies:
    """Every company whose events we take."""

    def __init__(self, store: Store, vault: Vault, own: Company) -> None:
        self._store = store
        self._vault = vault
        self.own = own

    async def get(self, company: str) -> Company | None:
        """A company added in settings."""
        row = await self._store.execute("HGET", COMPANIES, company)
        return self._company(company, row) if row else None

    async def all(self) -> list[Company]:
        """The companies added in settings, by name."""
        rows = await self._store.execute("HGETALL", COMPANIES)
        companies = (self._company(key, row) for key, row in rows.items())
        return sorted(companies, key=lambda company: (company.name, company.id))

    async def add(self, company: Company) -> bool:
        """Store a company; False when its id is taken."""
        return bool(await self._store.execute("HSETNX", COMPANIES, company.id, self._row(company)))

    async def change(self, company: str, change: Callable[[Company], Company]) -> Company | None:
        """Change a company's name or tokens, again if somebody else did so meanwhile; None when there is none."""
        while (row := await self._store.execute("HGET", COMPANIES, company)) is not None:
            changed = change(self._company(company, row))
            if await self._store.swap(COMPANIES, company, version_of(row), self._row(changed)):
                return changed
        return None

    def _row(self, company: Company) -> str:
        return json.dumps(
            {
                "name": company.name,
                "endpoint_urls": company.endpoint_urls,
                "tokens": self._vault.seal(json.dumps(company.tokens), company_purpose(company.id)),
            }
        )

    async def remove(self, company: str) -> bool:
        """Forget a company; its events are refused from now on. False when there was none."""
        gone = await self._store.pipeline([("HDEL", COMPANIES, company), ("HDEL", _REACHED, company)])
        return bool(gone[0])

    async def reached(self, realm: str) -> None:
        """Remember that Vello's connection test came through."""
        await self._store.execute("HSET", _REACHED, realm or "own", int(time.time()))

    async def reached_at(self) -> dict[str, int]:
        """When Vello's last connection test came (unix seconds), by company; `own` is the installation's own."""
        rows = await self._store.execute("HGETALL", _REACHED)
        return {realm: int(at) for realm, at in rows.items()}

    def _company(self, key: str, row: str) -> Company:
        data = json.loads(row)
        tokens = json.loads(self._vault.open(data["tokens"], company_purpose(key)))
        return Company(key, data["name"], tuple(data["endpoint_urls"]), tuple(tokens))
