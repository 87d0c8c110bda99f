"""`/api/v1/connections`: what admins do with accounts and servers; the API and the pages call the same."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import ValidationError

from providers.base import Directory, ProviderError, ProviderInfo, ProviderSettings, Remark, TemporaryError
from service.changes import Change, Changes
from service.choices import Choices
from service.connections import Connection, Connections, UnknownConnection, Unreadable
from service.endpoint import Vendor, lacks
from service.farewell import Farewells
from service.ledger import Ledger
from service.oauth import Broker
from service.rehearsal import Progress, Rehearsals
from service.retyped import demand
from service.settings import Settings
from service.vendors import inspected
from service.web.errors import BY_API, IfMatch, Problem, invalid, meanwhile, version_in
from service.web.schema import (
    ConnectionName,
    ConnectionNew,
    ConnectionPage,
    ConnectionRead,
    Disconnecting,
    Disconnection,
    Look,
    People,
    Rehearsal,
)
from service.web.views import Views


class ConnectionsApi:
    """The API's operations on connections."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        broker: Broker,
        views: Views,
        changes: Changes,
        farewells: Farewells,
        rehearsals: Rehearsals,
        public_url: str,
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._broker = broker
        self._views = views
        self._changes = changes
        self._farewells = farewells
        self._rehearsals = rehearsals
        self._public_url = public_url

    @property
    def _choices(self) -> Choices:
        return self._settings.choices

    @property
    def _connections(self) -> Connections:
        return self._settings.connections

    async def list_connections(self) -> ConnectionPage:
        """Every connection with its health."""
        return ConnectionPage(connections=await self._views.connections(self._connections.all()))

    async def add_connection(self, new: ConnectionNew) -> ConnectionRead:
        """Make a connection that needs no browser."""
        return await self.add(new, BY_API)

    async def add(self, new: ConnectionNew, who: str, company: str | None = None) -> ConnectionRead:
        """Make a connection that needs no browser, for one company or for all."""
        settings = self._validated(new)
        row = await self._connections.add(new.provider, new.name or settings.account, settings, company=company)
        await self._changes.note(who, "connection", row.id, "added", {"name": (None, row.name)})
        await self._settings.announce(self._ledger)
        await self._tried(row)
        return (await self._views.connections([row]))[0]

    async def check_connection(self, new: ConnectionNew) -> Look:
        """Ask the server about settings, and store nothing."""
        return Look(remarks=await self.look(new.provider, self._validated(new)))

    async def look(self, provider: str, settings: ProviderSettings) -> list[Remark]:
        """What a provider's server says of settings that are not stored."""
        return list(await inspected(self._connections.providers[provider], settings))

    async def get_connection(self, connection: str, response: Response) -> ConnectionRead:
        """One connection with its health."""
        read = await self.connection(connection)
        response.headers["ETag"] = f'"{self.version(connection)}"'
        return read

    async def rename_connection(
        self, connection: str, new: ConnectionName, response: Response, if_match: IfMatch = None
    ) -> ConnectionRead:
        """Give a connection another name."""
        await self.rename(connection, new.name, BY_API, version_in(if_match))
        return await self.get_connection(connection, response)

    async def delete_connection(
        self,
        connection: str,
        force: Annotated[bool, Query(description="Remove it although it is used.")] = False,
        if_match: IfMatch = None,
    ) -> Response:
        """Forget a connection, and revoke its grant; 409 with what depends on it, unless forced."""
        row = self._known(connection)
        self._still(row, version_in(if_match))
        offices, meetings = self._choices.using(connection), await self.upcoming(connection)
        if (offices or meetings) and not force:
            named = ", ".join(offices) or "no office"
            message = (
                f"It is chosen by {named} and holds {meetings} meetings; choose another connection there first, "
                "or send ?force=true and the meetings stay at the provider."
            )
            raise Problem(409, "in_use", message)
        await self._farewells.finish(connection, BY_API)
        return Response(status_code=204)

    async def disconnect_connection(
        self, connection: str, wanted: Disconnection, if_match: IfMatch = None
    ) -> Disconnecting:
        """Take a connection out of use: its upcoming meetings are kept, moved to another connection, or removed."""
        return await self.disconnect(connection, wanted, BY_API, version_in(if_match))

    async def get_disconnection(self, connection: str) -> Disconnecting:
        """How far that is; 404 when it is done or was never asked for."""
        going = await self.going(connection)
        if going is None:
            raise Problem(404, "unknown_connection", "Nobody takes such a connection out of use, or it is done.")
        return going

    async def going(self, connection: str) -> Disconnecting | None:
        """Go on with taking a connection out of use; None when nobody does, or when it is done."""
        left = await self._farewells.step(connection)
        if left is None:
            return None
        return Disconnecting(how=left.how, to=left.to, total=left.total, left=left.left, stuck=left.stuck)

    async def test_connection(self, connection: str) -> Rehearsal:
        """Make, move, find and delete a real meeting; what waited for the connection goes on when that works."""
        with self._adapted(connection):
            try:
                ended = await self._rehearsals.run(connection)
            except TemporaryError as error:
                raise Problem(503, "unavailable", error.text) from None
        return Rehearsal(ok=ended.failed is None, steps=list(ended.steps))

    async def begin_test(self, connection: str) -> Progress:
        """Begin what `test_connection` does, unless it goes on already, and do not wait for its end."""
        with self._adapted(connection):
            return await self._rehearsals.begin(connection)

    async def tested(self, connection: str) -> Progress | None:
        """The test that goes on or was the last one, None when there was none lately."""
        return await self._rehearsals.seen(connection)

    async def list_people(self, connection: str) -> People:
        """Who may host its meetings."""
        self._known(connection)
        try:
            provider = self._connections.provider(connection)
            people = await provider.people() if isinstance(provider, Directory) else ()
        except UnknownConnection:
            people = ()
        except TemporaryError as error:
            raise Problem(503, "unavailable", error.text) from None
        except ProviderError as error:
            raise Problem(409, "no_people", error.text) from None
        return People(people=list(people))

    async def connection(self, connection: str) -> ConnectionRead:
        """One connection with its health."""
        return (await self._views.connections([self._known(connection)]))[0]

    def version(self, connection: str) -> str:
        """What another admin's change to the connection changes as well."""
        return self._connections.version(connection)

    @property
    def vendors(self) -> Mapping[str, Vendor]:
        """Providers whose accounts are connected in a browser."""
        return self._broker.vendors

    @property
    def providers(self) -> Mapping[str, ProviderInfo]:
        """Every provider there is."""
        return self._connections.providers

    async def upcoming(self, connection: str) -> int:
        """How many meetings of it are still to come."""
        return await self._farewells.upcoming(connection)

    async def rename(self, connection: str, name: str, who: str, version: str | None = None) -> None:
        """Give a connection another name, with `version` only that one."""
        row = self._known(connection)
        self._still(row, version)
        if not await self._connections.rename(row, name, version or self.version(connection)):
            await self._settings.load()
            raise meanwhile()
        await self._changes.note(who, "connection", connection, "set", {"name": (row.name, name)})
        await self._settings.announce(self._ledger)

    def mended(self, connection: str, fields: Mapping[str, Any]) -> ProviderSettings:
        """A connection's settings with others in `fields`; a secret goes to no other server unless it is among them.

        Raises: Problem, ValidationError.
        """
        with self._adapted(connection):
            row = self._known(connection)
            if row.grant or (row.method == "oauth" and row.provider in self.vendors):  # its vendor said whose it is
                raise self._in_a_browser(row.provider)
            try:
                known = self._connections.settings_of(row)
            except Unreadable:  # nothing of it can stay
                return self._connections.validated(row.provider, fields)
            settings = self._connections.validated(row.provider, {**known.reveal(), **fields})
            demand(known, settings, fields)
            return settings

    async def mend(self, connection: str, fields: Mapping[str, Any], who: str, version: str | None = None) -> None:
        """Give a connection other settings, with `version` only that one; what is not in `fields` stays.

        Raises: Problem, ValidationError.
        """
        row, settings = self._known(connection), self.mended(connection, fields)
        self._still(row, version)
        if not await self._connections.change(row, settings, version or self.version(connection)):
            await self._settings.load()
            raise meanwhile()
        await self._changes.note(who, "connection", connection, "set", dict.fromkeys(fields, ("…", "…")))
        await self._connections.mark(connection, "ready")
        await self._rehearsals.forget(connection)
        await self._settings.announce(self._ledger)
        await self._tried(self._known(connection))  # with access of its own: what the old settings got is not theirs
        if self._connections.state(connection).state == "ready":
            await self._ledger.unpark(connection)

    async def disconnect(
        self, connection: str, wanted: Disconnection, who: str, version: str | None = None
    ) -> Disconnecting:
        """Take a connection out of use, with `version` only that one, and only if nobody does so in another way."""
        self._still(self._known(connection), version)
        under_way = await self._farewells.all()
        going = under_way.get(connection)
        if version is not None and going and (going.how, going.to) != (wanted.how, wanted.to):
            raise meanwhile()
        if wanted.how == "move":
            if wanted.to is None or wanted.to == connection:
                raise Problem(422, "invalid", "`to`: name another connection.")
            if self._known(wanted.to).company not in (None, self._known(connection).company):
                raise Problem(422, "invalid", "`to`: this connection is another company's.")
            if wanted.to in under_way:
                raise Problem(422, "invalid", "`to`: name another connection.")
        await self._farewells.begin(connection, wanted.how, wanted.to if wanted.how == "move" else None, who)
        left = (await self._farewells.all()).get(connection)
        total, still, stuck = (left.total, left.left, left.stuck) if left else (0, 0, 0)
        return Disconnecting(how=wanted.how, to=wanted.to, total=total, left=still, stuck=stuck)

    async def finish(self, connection: str, who: str) -> None:
        """Forget a connection now, whatever it still has."""
        self._known(connection)
        await self._farewells.finish(connection, who)

    async def history(self, connection: str, limit: int = 20) -> list[Change]:
        """Who changed a connection, the latest first."""
        return await self._changes.of("connection", connection, limit)

    def _still(self, row: Connection, version: str | None) -> None:
        if version is not None and version != self.version(row.id):
            raise meanwhile()

    async def _tried(self, row: Connection) -> None:
        """Ask an app that gets its own tokens for something, so that who enters it hears at once what is wrong."""
        source, wrong = self._views.source(row), None
        if source is None:
            return
        try:
            await self._connections.provider(row.id).probe()
        except TemporaryError:
            return  # the first booking tells, if it does not pass
        except ProviderError as error:
            wrong = error.text
        if lacking := (await self._broker.allowed(source.grant))[source.grant].missing(source.vendor.oauth):
            wrong = lacks(source.vendor, lacking)
        if wrong:
            await self._connections.mark(row.id, "failing", wrong)

    def _validated(self, new: ConnectionNew) -> ProviderSettings:
        try:
            settings = self._connections.validated(new.provider, new.model_extra or {})
        except KeyError:
            raise Problem(422, "invalid", f"`provider`: no provider is called {new.provider!r} here.") from None
        except ValidationError as error:
            raise invalid(error) from None
        if new.method is not None and new.method != settings.method:
            message = f"`method`: these fields make a connection of the method {settings.method!r}."
            raise Problem(422, "invalid", message)
        if new.provider in self._broker.vendors and settings.token_request() is None:
            raise self._in_a_browser(new.provider)
        return settings

    def _in_a_browser(self, provider: str) -> Problem:
        page = f"{self._public_url}/connect/{provider}"
        return Problem(422, "invalid", f"`provider`: such accounts are connected in a browser, at {page}.")

    @contextmanager
    def _adapted(self, connection: str) -> Iterator[None]:
        row = self._known(connection)
        try:
            yield
        except Unreadable as error:
            raise Problem(409, "unreadable_settings", str(error)) from None
        except UnknownConnection:
            raise Problem(409, "no_adapter", f"No adapter called {row.provider!r} is installed.") from None

    def _known(self, connection: str) -> Connection:
        try:
            return self._connections.get(connection)
        except UnknownConnection:
            raise Problem(404, "unknown_connection", "No connection has this id.") from None
