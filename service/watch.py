"""Asks every connection in use now and then whether it works, so that a dead account shows before a booking needs it.

A probe goes through the connection's gate and room: while a provider is left alone nothing is asked, and a probe may
be the call that tries it. What a probe finds, and outages, a later probe takes back; what a booking, a test or a person
said of a connection stands until a booking, a test or a person says otherwise.

Key: `vm:probe:<connection>`, there while nobody needs to ask again.
"""

import asyncio
import random
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

import structlog

from providers.base import NoRoom, OutcomeUnknown, ProviderError, ReconnectRequired, TemporaryError
from service.calls import Calls, Permit
from service.connections import Cause, Connection, Health, HealthState, UnknownConnection
from service.gate import Held
from service.ledger import Ledger
from service.settings import Settings
from service.store import Store, StoreUnavailable
from service.vault import Damaged, UnknownKey

PAUSE: Final = 900.0
"""Seconds between two probes of a connection by all processes, a quarter more or less."""
SOON: Final = 60
"""Seconds after which one that did not answer, or was not asked after all, is asked again."""
AT_ONCE: Final = 4
"""Probes of one process in flight at a time."""

Finding = Literal["well", "busy", "outage", "account", "refused"]

_log = structlog.get_logger(__name__)


class Verdict(NamedTuple):
    """The state a connection gets."""

    state: HealthState
    cause: Cause | None = None


def judged(health: Health, finding: Finding) -> Verdict | None:
    """What a probe's finding makes of a connection; None: it stays as it is. `outage`: the gate has opened for it."""
    passing = health.state == "ready" or health.cause is not None
    match finding:
        case "well" if health.state != "ready" and passing:
            return Verdict("ready")
        case "outage" if health.state == "ready":
            return Verdict("failing", "outage")
        case "refused" if health.state != "reconnect" and passing:
            return Verdict("failing", "probe")
        case "account" if health.state != "reconnect":
            return Verdict("reconnect", "probe")
    return None


class Watch:
    """Its rounds are many; a connection is asked by one of all processes."""

    def __init__(self, store: Store, ledger: Ledger, settings: Settings, calls: Calls) -> None:
        self._store = store
        self._ledger = ledger
        self._settings = settings
        self._calls = calls

    async def round(self) -> None:
        """Ask every connection in use whose time has come."""
        await self._settings.load()
        places = asyncio.Semaphore(AT_ONCE)
        rows = list(self._used())

        async def one(row: Connection) -> None:
            async with places:
                await self._asked(row)

        faults = await asyncio.gather(*map(one, rows), return_exceptions=True)
        for row, fault in zip(rows, faults, strict=True):
            if isinstance(fault, StoreUnavailable):
                raise fault
            if isinstance(fault, Exception):  # of an adapter: the others are looked after all the same
                _log.error("probe_failed", connection=row.id, error=type(fault).__name__)

    def _used(self) -> Iterator[Connection]:
        for row in self._settings.connections.all():
            if self._settings.choices.using(row.id):
                yield row

    async def _asked(self, row: Connection) -> None:
        pause = int(PAUSE * random.uniform(0.75, 1.25))  # noqa: S311 (jitter is no secret)
        if not await self._store.execute("SET", _key(row.id), 1, "NX", "EX", pause):
            return
        try:
            provider = self._settings.connections.provider(row.id)
        except (UnknownConnection, UnknownKey, Damaged):
            return  # settings say so already
        try:
            async with self._calls.permit(row.id, None, inline=False) as permit:
                permit.begun()
                text = ""
                try:
                    await self._calls.probe(row.id, row.provider, provider.probe())
                except ProviderError as error:
                    finding, text = await self._found(permit, error), error.text
                else:
                    await self._calls.well(permit)
                    finding = "well"
        except Held:
            finding = "busy"
        if finding in ("busy", "outage"):
            await self._store.execute("EXPIRE", _key(row.id), SOON)
        await self._written(row.id, finding, text if finding != "busy" else "")

    async def _found(self, permit: Permit, error: ProviderError) -> Finding:
        if isinstance(error, NoRoom):
            return "busy"
        if isinstance(error, TemporaryError | OutcomeUnknown) and not error.well:
            return "outage" if await self._calls.unwell(permit) else "busy"
        await self._calls.well(permit)
        if isinstance(error, TemporaryError | OutcomeUnknown):
            return "busy"
        return "account" if isinstance(error, ReconnectRequired) else "refused"

    async def _written(self, connection: str, finding: Finding, text: str) -> None:
        connections = self._settings.connections
        verdict = judged((await connections.health()).get(connection, Health()), finding)
        if verdict is None:
            return
        if finding == "outage":
            text = f"{text} It is left alone for a while and tried by itself."
        await connections.mark(connection, verdict.state, text or None, verdict.cause)
        _log.info("connection_state", connection=connection, state=verdict.state, finding=finding)
        if verdict.state == "ready":
            await self._ledger.unpark(connection)


def _key(connection: str) -> str:
    return f"vm:probe:{connection}"
