"""`/api/v1`: offices, connections, companies and records as JSON, for whoever holds ADMIN_TOKEN."""

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from service.budget import Budgets
from service.changes import Changes
from service.companies import Companies, Company
from service.connections import UnknownConnection
from service.entry import Entry, State
from service.ledger import Ledger
from service.links import link_for, vello_was_told
from service.oauth import Broker
from service.settings import Settings
from service.verbs import JournalLine
from service.web.api_connections import ConnectionsApi
from service.web.api_offices import OfficesApi
from service.web.errors import Problem
from service.web.guard import BEARER, guarded
from service.web.host import host_url
from service.web.schema import (
    CompanyNew,
    CompanyPage,
    CompanyRead,
    Failure,
    HostLink,
    RecordPage,
    RecordRead,
)

_SCAN = 5_000  # records one page request looks at, however few of them match

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
        changes: Changes,
        public_url: str,
        admin_token: str,
    ) -> None:
        self.offices = OfficesApi(ledger, settings, changes)
        self.connections = ConnectionsApi(ledger, settings, broker, budgets, public_url)
        self._ledger = ledger
        self._settings = settings
        self._companies = companies
        self._public_url = public_url
        self._admin_token = admin_token

    def router(self) -> APIRouter:
        """All routes; each asks for the bearer token and works on settings read just now."""

        async def fresh() -> None:
            await self._settings.load()

        statuses = (400, 401, 404, 409, 412, 413, 422, 503)
        failures: dict[int | str, dict[str, Any]] = {status: {"model": Failure} for status in statuses}
        router = APIRouter(
            prefix="/api/v1",
            route_class=guarded(self._admin_token),
            dependencies=[Depends(BEARER), Depends(fresh)],
            responses=failures,
        )
        get, put, post, delete = router.get, router.put, router.post, router.delete
        get("/offices", tags=["offices"])(self.offices.list_offices)
        get("/offices/{office}", tags=["offices"])(self.offices.get_office)
        put("/offices/{office}", tags=["offices"])(self.offices.put_office)
        delete("/offices/{office}", tags=["offices"], status_code=204)(self.offices.delete_office)
        post("/offices/{office}/preview", tags=["offices"])(self.offices.preview_office)
        get("/connections", tags=["connections"])(self.connections.list_connections)
        post("/connections", tags=["connections"], status_code=201)(self.connections.add_connection)
        get("/connections/{connection}", tags=["connections"])(self.connections.get_connection)
        delete("/connections/{connection}", tags=["connections"], status_code=204)(self.connections.delete_connection)
        post("/connections/{connection}/test", tags=["connections"])(self.connections.test_connection)
        get("/companies", tags=["companies"])(self.list_companies)
        post("/companies", tags=["companies"], status_code=201)(self.add_company)
        delete("/companies/{company}", tags=["companies"], status_code=204)(self.delete_company)
        get("/records", tags=["records"])(self.list_records)
        get("/records/{record}", tags=["records"])(self.get_record)
        get("/records/{record}/host_link", tags=["records"])(self.get_host_link)
        post("/records/{record}/reconcile", tags=["records"], status_code=202)(self.reconcile_record)
        return router

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

    def _record(self, entry: Entry) -> RecordRead:
        wish, placed = entry.wish, entry.meeting
        choice = self._settings.choices.of(wish.office if wish else None)
        capabilities = self._settings.connections.capabilities(choice.connection if choice else None)
        link = link_for(entry, choice, capabilities, self._public_url)
        connection = placed.connection if placed else None
        try:
            provider = self._settings.connections.get(connection).provider if connection else None
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
