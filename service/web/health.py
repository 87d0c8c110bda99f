"""`/livez`, `/readyz` and `/metrics`: whether the process lives and can work, and its figures."""

import time
from collections import Counter

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.budget import Budgets
from service.clock import skew
from service.connections import Connections
from service.connections import Health as State
from service.gate import Gate
from service.ledger import Ledger
from service.metrics import CONTENT_TYPE, Metrics
from service.notices.sender import Sender
from service.store import Store, StoreUnavailable
from service.swept import Swept
from service.web.errors import problem


class Health:
    """Answers probes."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        gate: Gate,
        budgets: Budgets,
        connections: Connections,
        swept: Swept,
        metrics: Metrics,
        sender: Sender,
    ) -> None:
        self._sender = sender
        self._store = store
        self._ledger = ledger
        self._gate = gate
        self._budgets = budgets
        self._connections = connections
        self._swept = swept
        self._metrics = metrics

    def routes(self) -> list[Route]:
        """The probes."""
        return [
            Route("/livez", self._live, methods=["GET"]),
            Route("/readyz", self._ready, methods=["GET"]),
            Route("/metrics", self._figures, methods=["GET"]),
        ]

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
            breakers = await self._gate.states(row.id for row in self._connections.all())
            health = await self._connections.health()
            budgets = await self._budgets.part_left(self._connections)
            ahead = await skew(self._store)
            matters: Counter[str] = Counter(each.code for each in await self._sender.seen())
            standing = await self._sender.standing()
            sweep = await self._swept.last()
        except StoreUnavailable:
            return self._answer(self._metrics.render(None, {}))
        states = {row.id: health.get(row.id, State()).state for row in self._connections.all()}
        now = time.time()
        silent: dict[str, float] = {
            each.channel: max(0.0, now - each.silence.since) if each.silence else 0.0 for each in standing
        }
        return self._answer(self._metrics.render(backlog, breakers, states, budgets, ahead, matters, silent, sweep))

    @staticmethod
    def _answer(figures: bytes) -> Response:
        return Response(figures, headers={"Content-Type": CONTENT_TYPE})
