"""`/api/v1`: offices, connections, companies and records as JSON, for whoever holds ADMIN_TOKEN."""

from importlib import metadata
from typing import Final

from fastapi import Depends, FastAPI

from service.settings import Settings
from service.web.api_companies import CompaniesApi
from service.web.api_connections import ConnectionsApi
from service.web.api_deliveries import DeliveriesApi
from service.web.api_errands import ErrandsApi
from service.web.api_logos import UPLOAD, LogosApi
from service.web.api_offices import OfficesApi
from service.web.api_privacy import EXPORTED, PrivacyApi
from service.web.api_records import RecordsApi
from service.web.guard import BEARER, guarded
from service.web.schema import Failure

_BASE: Final = "/api/v1"


class Api:
    """The API: every operation at its address."""

    def __init__(
        self,
        settings: Settings,
        public_url: str,
        admin_token: str,
        *,
        offices: OfficesApi,
        logos: LogosApi,
        records: RecordsApi,
        connections: ConnectionsApi,
        companies: CompaniesApi,
        deliveries: DeliveriesApi,
        errands: ErrandsApi,
        privacy: PrivacyApi,
    ) -> None:
        self._settings, self._public_url, self._admin_token = settings, public_url, admin_token
        self.offices, self.logos, self.records = offices, logos, records
        self.connections, self.companies = connections, companies
        self.deliveries, self.errands, self.privacy = deliveries, errands, privacy

    def app(self) -> FastAPI:
        """All operations; each asks for the bearer token and works on settings read just now."""

        async def fresh() -> None:
            await self._settings.load()

        statuses = (400, 401, 404, 409, 412, 413, 422, 503)
        app = FastAPI(
            title="vello-meetings",
            version=metadata.version("vello-meetings"),
            description='Offices, connections, companies and records. Errors are {"error": {"code", "message"}}.',
            openapi_url=f"{_BASE}/openapi.json",
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,  # a client sends its secrets once more, to an address that the caller's Host named
            dependencies=[Depends(BEARER), Depends(fresh)],
            responses={status: {"model": Failure} for status in statuses},
        )
        app.router.route_class = guarded(self._admin_token)
        app.router.prefix = _BASE  # a router of its own, included, would have every route built twice
        get, put, post, delete = app.get, app.put, app.post, app.delete
        get("/offices", tags=["offices"])(self.offices.list_offices)
        get("/offices/{office}", tags=["offices"])(self.offices.get_office)
        put("/offices/{office}", tags=["offices"])(self.offices.put_office)
        delete("/offices/{office}", tags=["offices"], status_code=204)(self.offices.delete_office)
        put("/offices/{office}/company", tags=["offices"])(self.offices.give_office)
        post("/offices/{office}/preview", tags=["offices"])(self.offices.preview_office)
        post("/logos", tags=["offices"], status_code=201, openapi_extra=UPLOAD)(self.logos.add_logo)
        get("/connections", tags=["connections"])(self.connections.list_connections)
        post("/connections", tags=["connections"], status_code=201)(self.connections.add_connection)
        post("/connections/check", tags=["connections"])(self.connections.check_connection)
        get("/connections/{connection}", tags=["connections"])(self.connections.get_connection)
        app.patch("/connections/{connection}", tags=["connections"])(self.connections.rename_connection)
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
        post("/deliveries/{delivery}/preview", tags=["deliveries"])(self.deliveries.preview_delivery)
        post("/deliveries/{delivery}/replay", tags=["deliveries"], status_code=202)(self.deliveries.replay_delivery)
        post("/replays/preview", tags=["deliveries"])(self.deliveries.preview_deliveries)
        post("/replays", tags=["deliveries"], status_code=202)(self.deliveries.replay_deliveries)
        get("/errands", tags=["errands"])(self.errands.list_errands)
        get("/errands/{errand}", tags=["errands"])(self.errands.get_errand)
        post("/errands/{errand}/stop", tags=["errands"])(self.errands.stop_errand)
        post("/erasures", tags=["privacy"], status_code=202)(self.privacy.erase)
        get("/export", tags=["privacy"], response_model=None, responses=EXPORTED)(self.privacy.export)
        return app
