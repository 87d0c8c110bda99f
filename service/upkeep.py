"""Keeps grants alive that nobody uses, and wakes what waits for an account that was connected again."""

import random
from typing import Final

import structlog

from providers.base import ProviderError, ReconnectRequired
from service.connections import Connection, Health, UnknownConnection
from service.farewell import Farewells
from service.ledger import Ledger
from service.oauth import Broker, idle
from service.settings import Settings

RENEWALS: Final = 20
"""Idle grants one round renews at most."""

_log = structlog.get_logger(__name__)


class Upkeep:
    """Rounds over all connections with a grant; every process may do them."""

    def __init__(self, ledger: Ledger, settings: Settings, broker: Broker, farewells: Farewells) -> None:
        self._ledger = ledger
        self._settings = settings
        self._broker = broker
        self._farewells = farewells

    async def round(self) -> None:
        """Look at every connection with a grant once, and go on with those that leave.

        It begins anywhere: else those that fail every time would take the places of those behind them.
        """
        await self._settings.load()
        health, renewed = await self._settings.connections.health(), 0
        rows = list(self._settings.connections.all())
        begin = random.randrange(len(rows) or 1)  # noqa: S311 (who comes first is no secret)
        for row in rows[begin:] + rows[:begin]:
            if row.grant and renewed < RENEWALS:
                renewed += await self._tended(row, health.get(row.id, Health()))
        await self._farewells.round()

    async def _tended(self, row: Connection, health: Health) -> bool:
        """Look after one connection; True if that took a renewal."""
        connections = self._settings.connections
        try:
            source = self._broker.source(row, connections.settings_of(row))
        except UnknownConnection:
            return False
        if source is None:
            return False
        grant = await self._broker.look(source)
        # A run that began before may have parked its record, and said so, after the account was connected again.
        if health.state == "reconnect" and not grant.dead and grant.connected_at > (health.checked_at or 0):
            await connections.mark(row.id, "ready")
            await self._ledger.unpark(row.id)
        if not idle(grant):
            return False
        try:
            await self._broker.renew(source, grant.version)
        except ReconnectRequired as error:
            await connections.mark(row.id, "reconnect", error.text)
        except ProviderError as error:
            _log.warning("grant_not_renewed", connection=row.id, reason=error.text)
        return True
