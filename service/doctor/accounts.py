"""Connections: each one asked whether it answers; the wanted one makes, moves, finds and removes a real meeting."""

import asyncio
from typing import Final

from providers.base import PermanentError, ProviderError, ReconnectRequired
from service.budget import Budgets
from service.connections import Connection, UnknownConnection, Unreadable
from service.doctor.finding import Report
from service.endpoint import lacks
from service.oauth import Broker
from service.rehearsal import rehearse_connection
from service.settings import Settings
from service.store import StoreUnavailable
from service.vault import Damaged, UnknownKey

LIMIT: Final = 40.0
"""Seconds a connection may take to answer."""
AT_ONCE: Final = 8
"""Connections asked at the same time."""

_LATER = "See the vendor's status page and the network between; bookings wait and are tried again by themselves."
_AGAIN = "Do what it says there, then run this again. A meeting that stayed behind is called Connection test."
_UNLOCK = "Unlock it in the account's own settings, or choose other options for the office."
_FIXERS = {"admin": "an admin", "operator": "the operator", "developer": "a developer"}


class Accounts:
    """All connections of an installation."""

    def __init__(self, settings: Settings, broker: Broker, budgets: Budgets, public_url: str) -> None:
        self._settings = settings
        self._connections = settings.connections
        self._broker = broker
        self._budgets = budgets
        self._public_url = public_url

    async def look(self, report: Report, wanted: str | None) -> None:
        """Every connection, and `wanted` thoroughly."""
        rows = self._connections.all()
        if wanted is not None and all(row.id != wanted for row in rows):
            known = ", ".join(row.id for row in rows) or "none"
            report.broken(
                "connection", f"No connection has this id; there are: {known}.", "Name another.", about=wanted
            )
        if not rows:
            cure = f"Connect an account or a server at {self._public_url}, or set JITSI_URL and start the service."
            report.warning("connection", "There is no connection yet, so no booking gets a link.", cure)
        room = asyncio.Semaphore(AT_ONCE)

        async def one(row: Connection) -> Report:
            async with room:
                return await self._one(row, thoroughly=row.id == wanted)

        for each in await asyncio.gather(*(one(row) for row in rows)):
            report.findings += each.findings
            report.skip(*each.skipped)

    async def _one(self, row: Connection, *, thoroughly: bool) -> Report:
        report = Report()
        try:
            answers = await self._probe(report, row)
            await self._scopes(report, row)
            if thoroughly and answers:
                await self._meeting(report, row)
            elif thoroughly:
                report.skip("connection.meeting", "connection.options")
            await self._budget(report, row)
        except Unreadable as error:
            cure = "See what `keys` says, install the adapter's version that stored them, or enter them again."
            report.broken("connection", error.why, cure, about=row.id)
        except UnknownConnection:
            text, cure = f"No adapter called {row.provider!r} is installed.", "Install it, or remove the connection."
            report.broken("connection", text, cure, about=row.id)
        except (UnknownKey, Damaged) as error:
            report.broken("connection", str(error), "See what `keys` says.", about=row.id)
        except StoreUnavailable as error:
            report.broken("connection", str(error), "See what `store` says.", about=row.id)
        return report

    async def _probe(self, report: Report, row: Connection) -> bool:
        warnings = self._connections.settings_of(row).warnings()
        try:
            async with asyncio.timeout(LIMIT):
                text = await self._connections.provider(row.id).probe()
        except TimeoutError:
            report.broken("connection", f"It did not answer within {LIMIT:.0f} seconds.", _LATER, about=row.id)
            return False
        except ProviderError as error:
            report.broken("connection", error.text, self._cure(row, error), about=row.id)
            return False
        report.ok("connection", text, about=row.id)
        for warning in warnings:
            report.warning("connection", warning, f"The documentation of {row.provider} says more.", about=row.id)
        return True

    def _cure(self, row: Connection, error: ProviderError) -> str:
        if isinstance(error, ReconnectRequired):
            if row.grant:
                return f"Connect the account again at {self._public_url}/connect/{row.provider}."
            return f"Enter its credentials again at {self._public_url}/connections/{row.id}."
        if isinstance(error, PermanentError):
            return f"This is for {_FIXERS[error.who_can_fix]}; the documentation of {row.provider} says more."
        return _LATER

    async def _scopes(self, report: Report, row: Connection) -> None:
        source = self._broker.source(row, self._connections.settings_of(row))
        allowed = (await self._broker.allowed(source.grant))[source.grant] if source else None
        if source is None or allowed is None or not allowed.scopes:
            return  # it needs none, or its vendor does not say
        if lacking := allowed.missing(source.vendor.oauth):
            cure = f"Connect it again at {self._public_url}/connect/{row.provider}."
            report.broken("connection.scopes", lacks(source.vendor, lacking), cure, about=row.id)
        else:
            report.ok("connection.scopes", f"Granted: {', '.join(allowed.scopes)}.", about=row.id)

    async def _meeting(self, report: Report, row: Connection) -> None:
        steps = await rehearse_connection(self._settings, row.id)
        for step in steps:
            if not step.ok:
                report.broken("connection.meeting", f"{step.step}: {step.text}", _AGAIN, about=row.id)
        done = [step for step in steps if step.ok and step.step != "probe"]
        if len(done) == len(steps) - 1:
            text = "; ".join(f"{step.step} {step.milliseconds} ms" for step in done)
            report.ok("connection.meeting", f"A meeting came and went: {text}.", about=row.id)
        if not any(step.step == "create" for step in done):
            return
        warnings = [warning for step in steps for warning in step.warnings]
        for warning in dict.fromkeys(warnings):
            report.warning("connection.options", warning, _UNLOCK, about=row.id)
        if not warnings:
            report.ok("connection.options", "The account's own settings leave the options as chosen.", about=row.id)

    async def _budget(self, report: Report, row: Connection) -> None:
        counted = self._connections.budget(row.id)
        if counted is None:
            return
        most, left = counted[1], (await self._budgets.left([counted]))[0]
        short = {host: count for host, count in left.items() if count <= most.reserve}
        for host, count in short.items():
            text = f"{count} of {most.per_host} meetings are left for the host {host}."
            cure = "Name more hosts, so that bookings are shared between them; what waits goes on by itself."
            report.warning("connection.budget", text, cure, about=row.id)
        if not short:
            least = min(left.values(), default=most.per_host)
            report.ok("connection.budget", f"Each host has {least} or more of {most.per_host} left.", about=row.id)
