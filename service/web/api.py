"""`/api/v1`: offices, connections, companies and records as JSON, for whoever holds ADMIN_TOKEN."""

from typing import Any

from fastapi import APIRouter, Depends

from service.changes import Changes
from service.companies import Companies
from service.deliveries import Deliveries
from service.farewell import Farewells
from service.ledger import Ledger
from service.logos import Logos
from service.oauth import Broker
from service.rehearsal import Rehearsals
from service.settings import Settings
from service.web.api_companies import CompaniesApi
from service.web.api_connections import ConnectionsApi
from service.web.api_deliveries import DeliveriesApi
from service.web.api_logos import UPLOAD, LogosApi
from service.web.api_offices import OfficesApi
from service.web.api_records import RecordsApi
from service.web.guard import BEARER, guarded
from service.web.schema import (
    Failure,
)
from service.web.views import Views


class Api:
    """The API's operations over the parts that do the work."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        companies: Companies,
        broker: Broker,
        views: Views,
        changes: Changes,
        farewells: Farewells,
        rehearsals: Rehearsals,
        deliveries: Deliveries,
        logos: Logos,
        public_url: str,
        admin_token: str,
    ) -> None:
        self.offices = OfficesApi(ledger, settings, changes, logos)
        self.logos = LogosApi(logos, settings)
        self.records = RecordsApi(ledger, settings, views, public_url)
        self.connections = ConnectionsApi(ledger, settings, broker, views, changes, farewells, rehearsals, public_url)
        self.deliveries = DeliveriesApi(deliveries)
        self._settings = settings
        self.companies = CompaniesApi(companies, changes, public_url)
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
        post("/logos", tags=["offices"], status_code=201, openapi_extra=UPLOAD)(self.logos.add_logo)
        get("/connections", tags=["connections"])(self.connections.list_connections)
        post("/connections", tags=["connections"], status_code=201)(self.connections.add_connection)
        post("/connections/check", tags=["connections"])(self.connections.check_connection)
        get("/connections/{connection}", tags=["connections"])(self.connections.get_connection)
        router.patch("/connections/{connection}", tags=["connections"])(self.connections.rename_connection)
        post("/connections/{connection}/disconnect", tags=["connections"], status_code=202)(
            self.connections.disconnect_connection
        )
        get("/connections/{connection}/disconnect", tags=["connections"])(self.connections.get_disconnection)
        delete("/connections/{connection}", tags=["connections"], status_code=204)(self.connections.delete_connection)
        post("/connections/{connection}/test", tags=["connections"])(self.connections.test_connection)
        get("/connections/{connection}/people", tags=["connections"])(self.connections.list_people)
        get("/companies", tags=["companies"])(self.companies.list_companies)
        post("/companies", tags=["companies"], status_code=201)(self.companies.add_company)
        post("/companies/{company}/tokens", tags=["companies"], status_code=201)(self.companies.add_token)
        delete("/companies/{company}/tokens", tags=["companies"])(self.companies.drop_tokens)
        delete("/companies/{company}", tags=["companies"], status_code=204)(self.companies.delete_company)
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
        get("/deliveries", tags=["deliveries"])(self.deliveries.list_deliveries)
        get("/deliveries/{delivery}", tags=["deliveries"])(self.deliveries.get_delivery)
        return router
