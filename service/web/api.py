"""`/api/v1`: offices, connections, companies and records as JSON, for whoever holds ADMIN_TOKEN."""

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import ValidationError

from providers.base import Options, Scope
from service.budget import Budgets
from service.choices import DEFAULT, Choice, Choices
from service.companies import Companies, Company
from service.connections import Connection, Connections, Health, UnknownConnection
from service.endpoint import missing
from service.entry import Entry, State
from service.ledger import Ledger
from service.links import link_for, vello_was_told
from service.oauth import Broker, Source
from service.rehearsal import rehearse
from service.settings import Settings
from service.verbs import JournalLine
from service.web.errors import Problem, sentence
from service.web.guard import BEARER, guarded
from service.web.host import host_url
from service.web.schema import (
    CompanyNew,
    CompanyPage,
    CompanyRead,
    ConnectionNew,
    ConnectionPage,
    ConnectionRead,
    Failure,
    HostLink,
    Office,
    OfficePage,
    RecordPage,
    RecordRead,
    Rehearsal,
)

_SCAN = 5_000  # records one page request looks at, however few of them match

OfficeId = Annotated[str, Path(pattern=r"^(default|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$")]
RecordId = Annotated[str, Path(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]


class Api:
    """The API's operations over the parts that do the work."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        companies: Companies,
        broker: Broker,
        budgets: Budgets,
        public_url: str,
        admin_token: str,
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._companies = companies
        self._broker = broker
        self._budgets = budgets
        self._public_url = public_url
        self._admin_token = admin_token

    @property
    def _choices(self) -> Choices:
        return self._settings.choices

    @property
    def _connections(self) -> Connections:
        return self._settings.connections

    def router(self) -> APIRouter:
        """All routes; each asks for the bearer token and works on settings read just now."""

        async def fresh() -> None:
            await self._settings.load()

        statuses = (400, 401, 404, 409, 413, 422, 503)
        failures: dict[int | str, dict[str, Any]] = {status: {"model": Failure} for status in statuses}
        router = APIRouter(
            prefix="/api/v1",
            route_class=guarded(self._admin_token),
            dependencies=[Depends(BEARER), Depends(fresh)],
            responses=failures,
        )
        get, put, post, delete = router.get, router.put, router.post, router.delete
        get("/offices", tags=["offices"])(self.list_offices)
        get("/offices/{office}", tags=["offices"])(self.get_office)
        put("/offices/{office}", tags=["offices"])(self.put_office)
        delete("/offices/{office}", tags=["offices"], status_code=204)(self.delete_office)
        get("/connections", tags=["connections"])(self.list_connections)
        post("/connections", tags=["connections"], status_code=201)(self.add_connection)
        get("/connections/{connection}", tags=["connections"])(self.get_connection)
        delete("/connections/{connection}", tags=["connections"], status_code=204)(self.delete_connection)
        post("/connections/{connection}/test", tags=["connections"])(self.test_connection)
        get("/companies", tags=["companies"])(self.list_companies)
        post("/companies", tags=["companies"], status_code=201)(self.add_company)
        delete("/companies/{company}", tags=["companies"], status_code=204)(self.delete_company)
        get("/records", tags=["records"])(self.list_records)
        get("/records/{record}", tags=["records"])(self.get_record)
        get("/records/{record}/host_link", tags=["records"])(self.get_host_link)
        post("/records/{record}/reconcile", tags=["records"], status_code=202)(self.reconcile_record)
        return router

    def choice(self, office: str) -> Choice | None:
        """The choice that serves an office."""
        return self._choices.of(office)

    async def list_offices(self) -> OfficePage:
        """Every office with a choice, or seen in an event."""
        return OfficePage(offices=[self._office(office) for office in await self._choices.listed()])

    async def get_office(self, office: OfficeId) -> Office:
        """One office; 404 when it neither chose anything nor was seen in an event."""
        if office.lower() not in await self._choices.listed():
            raise Problem(404, "unknown_office", "This office has no choice and was not seen in an event.")
        return self._office(office.lower())

    async def put_office(self, office: OfficeId, choice: Choice) -> Office:
        """Store an office's choice. It holds for a booking from the next time Vello says something about it."""
        self._check(choice)
        before = self._choices.of(office.lower())
        await self._choices.put(office.lower(), choice)
        await self._changed(before)
        return self._office(office.lower())

    async def delete_office(self, office: OfficeId) -> Response:
        """Forget an office's own choice; the default serves it from now on."""
        before = self._choices.own(office.lower())
        if not await self._choices.remove(office.lower()):
            raise Problem(404, "unknown_office", "This office has no choice and was not seen in an event.")
        await self._changed(before)
        return Response(status_code=204)

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
            raise _invalid(error) from None
        if new.method is not None and new.method != settings.method:
            message = f"`method`: these fields make a connection of the method {settings.method!r}."
            raise Problem(422, "invalid", message)
        if new.provider in self._broker.vendors and settings.token_request() is None:
            page = f"{self._public_url}/connect/{new.provider}"
            raise Problem(422, "invalid", f"`provider`: such accounts are connected in a browser, at {page}.")
        row = await self._connections.add(new.provider, new.name or settings.account, settings)
        await self._changed()
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
        await self._changed()
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

    async def list_companies(self) -> CompanyPage:
        """Companies added in settings; the installation's own comes from the environment."""
        reached = await self._companies.reached_at()
        rows = await self._companies.all()
        return CompanyPage(companies=[_company(row, reached.get(row.id)) for row in rows])

    async def add_company(self, new: CompanyNew) -> CompanyRead:
        """Take events of another company at its own webhook URL."""
        url = new.endpoint_url or f"{self._public_url}/webhooks/vello/{new.id}"
        company = Company(new.id, new.name, (url,), tuple(new.tokens or [secrets.token_urlsafe(32)]))
        if not await self._companies.add(company):
            raise Problem(409, "exists", "A company with this id is there already; delete it first.")
        return _company(company, None).model_copy(update={"tokens": list(company.tokens)})

    async def delete_company(self, company: str) -> Response:
        """Refuse a company's events from now on."""
        if not await self._companies.remove(company.lower()):
            raise Problem(404, "unknown_company", "No company with this id has been added.")
        return Response(status_code=204)

    async def list_records(
        self,
        state: State | None = None,
        office: str | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str, Query(pattern=r"^\d{1,11}\.[0-9a-f-]{0,36}$")] = "0.",
    ) -> RecordPage:
        """Records by the start of their meeting, the soonest first."""
        found: list[RecordRead] = []
        start, _, last = cursor.partition(".")
        after, looked = (int(start), last), 0
        while looked < _SCAN:
            rows = await self._ledger.page(after, limit)
            for at, entry in rows.entries:
                after, looked = (at, entry.record), looked + 1
                mine = entry.wish.office if entry.wish else None
                if (state is None or entry.state is state) and (office is None or mine == office.lower()):
                    found.append(self._record(entry))
                if len(found) == limit:
                    return RecordPage(records=found, cursor=f"{after[0]}.{after[1]}")
            if rows.last is None:
                return RecordPage(records=found, cursor=None)
            after = rows.last
        return RecordPage(records=found, cursor=f"{after[0]}.{after[1]}")

    async def get_record(self, record: RecordId) -> RecordRead:
        """One record with its journal."""
        entry, journal, next_at = await self._found(record)
        shown = self._record(entry)
        return shown.model_copy(
            update={"journal": journal, "next_attempt_at": int(next_at) if next_at is not None else None}
        )

    async def get_host_link(self, record: RecordId, response: Response) -> HostLink:
        """The link by which the host starts the meeting, fetched now: a secret, kept and logged nowhere."""
        entry, _, _ = await self._found(record)
        response.headers["Cache-Control"] = "no-store"
        return HostLink(url=await host_url(entry, self._settings))

    async def reconcile_record(self, record: RecordId) -> RecordRead:
        """Look at a record again now; the answer is the record as it is before that."""
        await self._ledger.nudge(record.lower(), "An admin asked to look at this again.")
        return await self.get_record(record)

    async def _found(self, record: str) -> tuple[Entry, list[JournalLine], float | None]:
        found = await self._ledger.get(record.lower())
        if found is None:
            raise Problem(404, "unknown_record", "Vello has not told us of this record, or it was long ago.")
        return found

    async def _changed(self, before: Choice | None = None) -> None:
        await self._ledger.bump_revision()
        await self._settings.load()
        if before and before.connection:  # what waited for it may now be served by another one
            await self._ledger.unpark(before.connection)

    def _known(self, connection: str) -> Connection:
        try:
            return self._connections.get(connection)
        except UnknownConnection:
            raise Problem(404, "unknown_connection", "No connection has this id.") from None

    def _check(self, choice: Choice) -> None:
        """A choice must name a connection that exists, and options that its adapter declares."""
        declared: type[Options] = Options
        if choice.connection is not None:
            try:
                declared = self._connections.options(choice.connection)
            except UnknownConnection:
                raise Problem(422, "invalid", "`connection`: no connection has this id.") from None
        try:
            declared.model_validate(choice.options)
        except ValidationError as error:
            raise _invalid(error, "options") from None

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

    def _office(self, office: str) -> Office:
        own = self._choices.own(office)
        shown = own or (self._choices.of(office) if office != DEFAULT else None) or Choice()
        fields = shown.model_dump() if own else {**shown.model_dump(), "name": None}
        return Office(id=office, own=own is not None, **fields)

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

    def _record(self, entry: Entry) -> RecordRead:
        wish, placed = entry.wish, entry.meeting
        choice = self._choices.of(wish.office if wish else None)
        capabilities = self._connections.capabilities(choice.connection if choice else None)
        link = link_for(entry, choice, capabilities, self._public_url)
        connection = placed.connection if placed else None
        try:
            provider = self._connections.get(connection).provider if connection else None
        except UnknownConnection:
            provider = None
        return RecordRead(
            id=entry.record,
            company=wish.company if wish else None,
            office=wish.office if wish else None,
            version=entry.version,
            start=wish.start if wish else None,
            duration=wish.duration if wish else None,
            state=entry.state,
            reason=entry.reason.text if entry.reason else None,
            link=link.url if link else None,
            vello_told=vello_was_told(entry, link),
            provider=provider,
            connection=connection,
            host=placed.meeting.host if placed and placed.meeting else None,
            meeting_id=placed.meeting.id if placed and placed.meeting else None,
            join_url=placed.meeting.join_url if placed and placed.meeting else None,
            attempts=entry.attempts,
            next_attempt_at=None,
        )


def _company(row: Company, reached: int | None) -> CompanyRead:
    return CompanyRead(id=row.id, name=row.name, endpoint_url=row.endpoint_urls[0], reached_at=reached)


def _invalid(error: ValidationError, *within: str) -> Problem:
    first = error.errors(include_input=False, include_url=False)[0]
    return Problem(422, "invalid", sentence((*within, *first["loc"]), first["msg"]))
