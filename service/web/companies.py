"""`/companies`: further companies in this installation, each with its own URL and tokens."""

from collections.abc import Mapping

from pydantic import ValidationError
from starlette.responses import Response
from starlette.routing import Route

from service.web.api_companies import CompaniesApi
from service.web.errors import Problem
from service.web.forms import errors_of
from service.web.schema import CompanyNew, CompanyRead
from service.web.settings import Frame, Visit
from service.web.words import said


class CompanyPages:
    """The list, and the form that adds one; only for admins of all companies."""

    def __init__(self, frame: Frame, companies: CompaniesApi) -> None:
        self._frame = frame
        self._companies = companies

    def routes(self) -> list[Route]:
        """The page and what its forms do."""
        return [
            self._frame.get("/companies", self._list),
            self._frame.post("/companies", self._add),
            self._frame.post("/companies/{company}", self._act),
        ]

    async def _list(self, visit: Visit) -> Response:
        visit.demand_all()
        return await self._page(visit)

    async def _page(
        self,
        visit: Visit,
        status: int = 200,
        *,
        shown: CompanyRead | None = None,
        errors: Mapping[str, str] | None = None,
    ) -> Response:
        """The list; `shown` is a company whose new token is on this page, and never again."""
        companies = (await self._companies.list_companies()).companies
        typed = {name: visit.text(name) for name in ("id", "name", "endpoint_url")} if errors else {}
        return visit.show("companies.html", status, companies=companies, shown=shown, errors=errors or {}, typed=typed)

    async def _add(self, visit: Visit) -> Response:
        visit.demand_all()
        fields = {name: visit.text(name) for name in ("id", "name", "endpoint_url") if visit.text(name)}
        try:
            company = await self._companies.add(CompanyNew.model_validate(fields), visit.session.person.name)
        except ValidationError as error:
            return await self._page(visit, 422, errors=errors_of(error))
        except Problem as problem:
            return await self._page(visit, problem.status_code, errors={"id": said(problem.detail)})
        return await self._page(visit, 201, shown=company)

    async def _act(self, visit: Visit) -> Response:
        visit.demand_all()
        company, who = visit.part("company"), visit.session.person.name
        match visit.text("do"):
            case "renew":
                return await self._page(visit, shown=await self._companies.renew(company, who))
            case "settle":
                await self._companies.settle(company, who)
            case "remove":
                await self._companies.remove(company, who)
            case _:
                raise Problem(404, "not_found", "There is nothing at this address.")
        return visit.go("/companies")
