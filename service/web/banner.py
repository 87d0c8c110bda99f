"""What needs a person, for the top of every page of the settings: as at the last round, but for what is known now."""

from service.connections import Connection
from service.matters import BAD_HEALTH, PATIENCE, Condition, Matter, health_matter
from service.notices.sender import Sender
from service.settings import Settings


class Banner:
    """Connections' health is read with the settings, so whoever connects an account again sees that it is well."""

    def __init__(self, sender: Sender, settings: Settings) -> None:
        self._sender = sender
        self._settings = settings

    async def matters(self, companies: tuple[str, ...] | None) -> list[Matter]:
        """What an admin of `companies` should know, the worst first; None: of all of them. Raises: StoreUnavailable."""
        seen = {each.key: each for each in await self._sender.seen()}
        rows = {row.id: row for row in self._settings.connections.all()}
        kept = [each for each in seen.values() if each.code not in BAD_HEALTH and _stands(each, rows)]
        for row in rows.values():
            if self._settings.choices.using(row.id):
                health = self._settings.connections.state(row.id)
                if now := health_matter(Condition(row.id, row.name, health, row.company)):
                    kept.append(seen.get(now.key, now))
        mine = [each for each in kept if companies is None or (each.company is not None and each.company in companies)]
        return sorted(mine, key=lambda each: ([*PATIENCE].index(each.code), each.since, each.about))


def _stands(matter: Matter, rows: dict[str, Connection]) -> bool:
    return not matter.code.startswith("connection.") or matter.about in rows
