"""`/api/v1/connections`: what admins do with accounts and servers; the API and the pages call the same."""

from typing import Annotated

from fastapi import Query, Response
from pydantic import ValidationError

from providers.base import Scope
from service.budget import Budgets
from service.choices import Choices
from service.connections import Connection, Connections, Health, UnknownConnection
from service.endpoint import missing
from service.ledger import Ledger
from service.oauth import Broker, Source
from service.rehearsal import rehearse
from service.settings import Settings
from service.web.errors import Problem, invalid
from service.web.schema import ConnectionNew, ConnectionPage, ConnectionRead, Rehearsal

_SCAN = 5_000  # records that are looked at to count the meetings of a connection


class ConnectionsApi:
    """The API's operations on connections."""

    def __init__(self, ledger: Ledger, settings: Settings, broker: Broker, budgets: Budgets, public_url: str) -> None:
        self._ledger = ledger
        self._settings = settings
        self._broker = broker
        self._budgets = budgets
        self._public_url = public_url

    @property
    def _choices(self) -> Choices:
        return self._settings.choices

    @property
    def _connections(self) -> Connections:
        return self._settings.connections

    async def list_connections(self) -> ConnectionPage:
        """Every connection with its health."""
        return ConnectionPage(connections=await self._shown(self._connections.all()))

    async def add_connection(self, new: ConnectionNew) -> ConnectionRead:
        """Make a connection that needs no browser."""
        fields = dict(new.model_extra or {})
        try:
            settings = self._connections.validated(new.provider, fields)
        except KeyError:
            raise Problem(422, "invalid", f"`provider`: no provider is called {new.provider!r} here.") from None
        except ValidationError as error:
            raise invalid(error) from None
        if new.method is not None and new.method != settings.method:
            message = f"`method`: these fields make a connection of the method {settings.method!r}."
            raise Problem(422, "invalid", message)
        if new.provider in self._broker.vendors and settings.token_request() is None:
            page = f"{self._public_url}/connect/{new.provider}"
            raise Problem(422, "invalid", f"`provider`: such accounts are connected in a browser, at {page}.")
        row = await self._connections.add(new.provider, new.name or settings.account, settings)
        await self._settings.announce(self._ledger)
        return (await self._shown([row]))[0]

    async def get_connection(self, connection: str) -> ConnectionRead:
        """One connection with its health."""
        return (await self._shown([self._known(connection)]))[0]

    async def delete_connection(
        self,
        connection: str,
        force: Annotated[bool, Query(description="Remove it although it is used.")] = False,
    ) -> Response:
        """Forget a connection, and revoke its grant; 409 with what depends on it, unless forced."""
        row = self._known(connection)
        offices, meetings = self._choices.using(connection), await self._meetings(connection)
        if (offices or meetings) and not force:
            named = ", ".join(offices) or "no office"
            message = (
                f"It is chosen by {named} and holds {meetings} meetings; choose another connection there first, "
                "or send ?force=true and the meetings stay at the provider."
            )
            raise Problem(409, "in_use", message)
        source = self._source(row)
        await self._connections.remove(connection)
        await self._settings.announce(self._ledger)
        if source and not self._connections.holding(source.grant):
            await self._broker.forget(source)
        return Response(status_code=204)

    async def test_connection(self, connection: str) -> Rehearsal:
        """Make, move, find and delete a real meeting; what waited for the connection goes on when that works."""
        row = self._known(connection)
        office = next((self._choices.own(office) for office in self._choices.using(connection)), None)
        try:
            provider = self._connections.provider(connection)
        except UnknownConnection:
            raise Problem(409, "no_adapter", f"No adapter called {row.provider!r} is installed.") from None
        steps = await rehearse(provider, next(iter(office.hosts_of(None)), None) if office else None)
        failed = next((step for step in steps if not step.ok), None)
        if failed:
            await self._connections.mark(connection, "failing", failed.text)
        else:
            await self._connections.mark(connection, "ready")
            await self._ledger.unpark(connection)
        return Rehearsal(ok=failed is None, steps=steps)

    def _known(self, connection: str) -> Connection:
        try:
            return self._connections.get(connection)
        except UnknownConnection:
            raise Problem(404, "unknown_connection", "No connection has this id.") from None

    async def _meetings(self, connection: str) -> int:
        """How many records hold a meeting of this connection, counted up to the first thousands."""
        count, looked, after = 0, 0, (0, "")
        while looked < _SCAN:
            rows = await self._ledger.page(after, 200)
            looked += len(rows.entries)
            count += sum(
                entry.meeting is not None and entry.meeting.connection == connection for _, entry in rows.entries
            )
            if rows.last is None:
                break
            after = rows.last
        return count

    async def _shown(self, rows: list[Connection]) -> list[ConnectionRead]:
        health, sources = await self._connections.health(), {row.id: self._source(row) for row in rows}
        scopes = await self._broker.scopes([source for source in sources.values() if source])
        counted = {row.id: account for row in rows if (account := self._connections.budget(row.id))}
        left = dict(zip(counted, await self._budgets.left(list(counted.values())), strict=True))
        shown = []
        for row in rows:
            source = sources[row.id]
            granted = scopes[source.grant] if source else ()
            lacking = missing(source.vendor.oauth.scopes, granted) if source and granted else ()
            read = self._connection(row, health.get(row.id, Health()), granted, lacking)
            shown.append(read.model_copy(update={"budget": left.get(row.id)}))
        return shown

    def _source(self, row: Connection) -> Source | None:
        try:
            return self._broker.source(row, self._connections.settings_of(row))
        except UnknownConnection:
            return None

    def _connection(
        self, row: Connection, now: Health, granted: tuple[str, ...], lacking: tuple[Scope, ...]
    ) -> ConnectionRead:
        try:
            warnings = self._connections.settings_of(row).warnings()
        except UnknownConnection:
            now, warnings = Health("failing", f"No adapter called {row.provider!r} is installed."), []
        return ConnectionRead(
            id=row.id,
            provider=row.provider,
            method=row.method,
            name=row.name,
            account=row.account,
            state=now.state,
            reason=now.reason,
            scopes=list(granted),
            missing_scopes=[scope.any_of[0] for scope in lacking],
            warnings=warnings,
            budget=None,
            checked_at=now.checked_at,
            in_use_by=self._choices.using(row.id),
        )
