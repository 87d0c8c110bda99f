"""`/`: the first page, which leads from nothing to the first link and says later what is missing."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response
from starlette.routing import Route

from service.choices import DEFAULT
from service.companies import Companies
from service.entry import State
from service.web.api import Api
from service.web.errors import Problem
from service.web.schema import ConnectionRead, RecordRead
from service.web.settings import Frame, Visit
from service.web.trial import RECORD, Trial


@dataclass(frozen=True, slots=True)
class Way:
    """How far somebody has come: when Vello reached us, what is connected and chosen, and a booking with a link."""

    reached_at: int | None
    connections: Sequence[ConnectionRead]
    chosen: ConnectionRead | None
    trial: RecordRead | None
    linked: bool

    @property
    def usable(self) -> bool:
        """Some connection works."""
        return any(each.state == "ready" for each in self.connections)

    @property
    def mark(self) -> str:
        """Something that differs when the page would look different."""
        return f"{self.now}.{self.trial.state if self.trial else ''}"

    @property
    def now(self) -> int:
        """The first step that is not done, 5 when all are."""
        done = (self.reached_at is not None, self.usable, self.chosen is not None, self.linked)
        return next((step for step, finished in enumerate(done, 1) if not finished), 5)


class Start:
    """The first page and what waits on it."""

    def __init__(self, frame: Frame, api: Api, companies: Companies, trial: Trial) -> None:
        self._frame = frame
        self._api = api
        self._companies = companies
        self._trial = trial

    def routes(self) -> list[Route]:
        """The page, its live parts, and the test booking."""
        return [
            self._frame.get("/", self._show),
            self._frame.get("/start/steps", self._steps),
            self._frame.post("/start/book", self._book),
            self._frame.post("/start/cancel", self._cancel),
        ]

    async def _show(self, visit: Visit) -> Response:
        if not visit.all_companies:
            return visit.go("/bookings")
        return await self._page(visit, "start.html")

    async def _steps(self, visit: Visit) -> Response:
        """The steps anew, or nothing while they are as they were: whoever is in the middle of them is not disturbed."""
        if not visit.all_companies or visit.asked("was") == (await self._way()).mark:
            return Response(None, 204, visit.pages.headers)
        return await self._page(visit, "start_steps.html")

    async def _page(self, visit: Visit, template: str) -> Response:
        way = await self._way()
        own = self._companies.own
        # The token is shown until Vello has used it, and never again.
        token = own.tokens[0] if way.reached_at is None else None
        choice = self._api.offices.choice(DEFAULT)
        zone = choice.time_zone if choice else "UTC"
        return visit.show(template, way=way, endpoint_url=own.endpoint_urls[0], token=token, zone=zone)

    async def _way(self) -> Way:
        connections = (await self._api.connections.list_connections()).connections
        choice = self._api.offices.choice(DEFAULT)
        chosen = next((each for each in connections if choice and each.id == choice.connection), None)
        reached = (await self._companies.reached_at()).get("own")
        try:
            trial: RecordRead | None = await self._api.records.get_record(RECORD)
        except Problem:
            trial = None
        if trial and trial.state in (State.NONE, State.GONE):
            trial = None
        linked = bool(trial and trial.state is State.READY)
        linked = linked or bool((await self._api.records.list_records(state=State.READY, limit=1)).records)
        return Way(reached, connections, chosen, trial, linked)

    async def _book(self, visit: Visit) -> Response:
        visit.demand_all()
        await self._trial.book()
        return visit.go("/#step4")

    async def _cancel(self, visit: Visit) -> Response:
        visit.demand_all()
        await self._trial.cancel()
        return visit.go("/#step4")
