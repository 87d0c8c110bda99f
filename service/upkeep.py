"""Keeps grants alive that nobody uses, and wakes what waits for an account that was connected again."""

import asyncio
import contextlib
import random
from typing import Final

import structlog

from providers.base import ProviderError, ReconnectRequired
from service.connections import Connection, Health, UnknownConnection
from service.farewell import Farewells
from service.ledger import Ledger
from service.oauth import Broker, idle
from service.settings import Settings
from service.store import StoreUnavailable

EVERY: Final = 60.0
"""Seconds between two rounds, a quarter more or less."""
RENEWALS: Final = 20
"""Idle grants one round renews at most."""

_log = structlog.get_logger(__name__)


class Upkeep:
    """One round a minute over all connections with a grant; every process may do it."""

    def __init__(self, ledger: Ledger, settings: Settings, broker: Broker, farewells: Farewells) -> None:
        self._ledger = ledger
        self._settings = settings
        self._broker = broker
        self._farewells = farewells
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, the first round a little later."""
        self._task = asyncio.create_task(self._loop())

    async def stop(self) -> None:
        """End it; a renewal under way is finished by the broker."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _loop(self) -> None:
        while True:
            await asyncio.sleep(EVERY * random.uniform(0.75, 1.25))  # noqa: S311 (jitter is no secret)
            try:
                await self.round()
            except StoreUnavailable as error:
                _log.warning("upkeep_waits", reason=str(error))
            except Exception:  # a fault of ours must not end what keeps all grants alive
                _log.exception("upkeep_failed")

    async def round(self) -> None:
        """Look at every connection with a grant once, and go on with those that leave."""
        await self._settings.load()
        health, renewed = await self._settings.connections.health(), 0
        for row in self._settings.connections.all():
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
