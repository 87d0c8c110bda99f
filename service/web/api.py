"""`/api/v1`: offices, connections, companies and records as JSON, for whoever holds ADMIN_TOKEN."""

import secrets
from typing import Any

from fastapi import APIRouter, Depends, Response

from service.budget import Budgets
from service.changes import Changes
from service.companies import Companies, Company
from service.farewell import Farewells
from service.ledger import Ledger
from service.oauth import Broker
from service.settings import Settings
from service.web.api_connections import ConnectionsApi
from service.web.api_offices import OfficesApi
from service.web.api_records import RecordsApi
from service.web.errors import Problem
from service.web.guard import BEARER, guarded
from service.web.schema import (
    CompanyNew,
    CompanyPage,
    CompanyRead,
    Failure,
)


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
        farewells: Farewells,
        public_url: str,
        admin_token: str,
    ) -> None:
        self.offices = OfficesApi(ledger, settings, changes)
        self.records = RecordsApi(ledger, settings, public_url)
        self.connections = ConnectionsApi(ledger, settings, broker, budgets, changes, farewells, public_url)
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
        router.patch("/connections/{connection}", tags=["connections"])(self.connections.rename_connection)
        post("/connections/{connection}/disconnect", tags=["connections"], status_code=202)(
            self.connections.disconnect_connection
        )
        get("/connections/{connection}/disconnect", tags=["connections"])(self.connections.get_disconnection)
        delete("/connections/{connection}", tags=["connections"], status_code=204)(self.connections.delete_connection)
        post("/connections/{connection}/test", tags=["connections"])(self.connections.test_connection)
        get("/companies", tags=["companies"])(self.list_companies)
        post("/companies", tags=["companies"], status_code=201)(self.add_company)
        delete("/companies/{company}", tags=["companies"], status_code=204)(self.delete_company)
        get("/records", tags=["records"])(self.records.list_records)
        get("/records/{record}", tags=["records"])(self.records.get_record)
        get("/records/{record}/host_link", tags=["records"])(self.records.get_host_link)
        for verb, act in {
            "reconcile": self.records.reconcile_record,
            "recreate": self.records.recreate_record,
            "release": self.records.release_record,
            "take_back": self.records.take_back_record,
        }.items():
            post(f"/records/{{record}}/{verb}", tags=["records"], status_code=202)(act)
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


def _company(row: Company, reached: int | None) -> CompanyRead:
    return CompanyRead(id=row.id, name=row.name, endpoint_url=row.endpoint_urls[0], reached_at=reached)
