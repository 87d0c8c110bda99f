"""The door of the service: events straight to the webhook, programs to the API, people to the pages."""

import asyncio
import re
from collections.abc import Callable
from typing import Final

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from service.config import WEBHOOK_PATH
from service.web.errors import problem
from service.web.webhook import Webhook

MAX_IN_FLIGHT: Final = 4096
"""Requests one process answers at a time; more are asked to come again."""
_BUSY = (503, "busy", "Too many requests at once; send this again.", {"Retry-After": "1"})
_EVENTS = re.compile(rf"{WEBHOOK_PATH}/[^/]+")


class Later:
    """An application that is built, in a thread, when it is first asked for: many are never asked."""

    def __init__(self, build: Callable[[], ASGIApp]) -> None:
        self._build = build
        self._built: ASGIApp | None = None
        self._building = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand one request on."""
        await (self._built or await self._once())(scope, receive, send)

    async def _once(self) -> ASGIApp:
        async with self._building:
            if self._built is None:
                self._built = await asyncio.to_thread(self._build)
            return self._built


class Door:
    """The application as the server sees it."""

    def __init__(self, app: Starlette, webhook: Webhook | None, api: Later | None) -> None:
        self.app = app
        self._webhook = webhook
        self._api = api
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand one request to whom it is for."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self._in_flight >= MAX_IN_FLIGHT and scope["path"] != "/livez":
            await problem(*_BUSY)(scope, receive, send)
            return
        self._in_flight += 1
        try:
            path = scope["path"]
            if self._webhook and (path == WEBHOOK_PATH or _EVENTS.fullmatch(path)):
                await self._webhook(scope, receive, send)
            elif self._api and path.startswith("/api/"):
                await self._api(scope, receive, send)
            else:
                await self.app(scope, receive, send)
        finally:
            self._in_flight -= 1


class Apart:
    """The application with its figures on a port of their own: `/metrics` is there and nowhere else, and alone."""

    def __init__(self, app: ASGIApp, metrics_port: int) -> None:
        self._app = app
        self._metrics_port = metrics_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand one request on if it came to the right port."""
        if scope["type"] == "http" and (scope["server"][1] == self._metrics_port) != (scope["path"] == "/metrics"):
            await problem(404, "not_found", "There is nothing at this address.")(scope, receive, send)
        else:
            await self._app(scope, receive, send)
