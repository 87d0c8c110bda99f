"""`/livez`, `/readyz`, `/metrics` and `/`: whether the process lives and can work, its figures, a first page."""

from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.companies import Company
from service.connections import Connections
from service.gate import Gate
from service.ledger import Ledger
from service.metrics import CONTENT_TYPE, Metrics
from service.store import Store, StoreUnavailable
from service.web.errors import problem
from service.web.join import HEADERS


class Health:
    """Answers probes, and people who open the service's address."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        gate: Gate,
        connections: Connections,
        metrics: Metrics,
        own: Company,
        public_url: str,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._gate = gate
        self._connections = connections
        self._metrics = metrics
        self._own = own
        self._public_url = public_url
        pages = Environment(
            loader=PackageLoader("service.web"), autoescape=select_autoescape(), undefined=StrictUndefined
        )
        self._page = pages.get_template("start.html")

    def routes(self, *, pages: bool) -> list[Route]:
        """The probes, and with `pages` the start page."""
        probes = [
            Route("/livez", self._live, methods=["GET"]),
            Route("/readyz", self._ready, methods=["GET"]),
            Route("/metrics", self._figures, methods=["GET"]),
        ]
        return [*probes, Route("/", self._start, methods=["GET"])] if pages else probes

    async def _live(self, _: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def _ready(self, _: Request) -> Response:
        try:
            await self._store.ping()
        except StoreUnavailable:
            return problem(503, "store_unavailable", "The store cannot be reached.")
        return JSONResponse({"status": "ready"})

    async def _figures(self, _: Request) -> Response:
        try:
            backlog = await self._ledger.backlog()
            states = await self._gate.states(row.id for row in self._connections.all())
        except StoreUnavailable:
            backlog, states = None, {}
        return Response(self._metrics.render(backlog, states), headers={"Content-Type": CONTENT_TYPE})

    async def _start(self, _: Request) -> Response:
        body = self._page.render(
            endpoint_url=self._own.endpoint_urls[0], public_url=self._public_url, root=urlsplit(self._public_url).path
        )
        return Response(body, 200, HEADERS, media_type="text/html")
