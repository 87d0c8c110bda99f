"""The door of the service: events straight to the webhook, all else through FastAPI."""

import re
from typing import Final

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from service.config import WEBHOOK_PATH
from service.web.errors import problem
from service.web.webhook import Webhook

MAX_IN_FLIGHT: Final = 4096
"""Requests one process answers at a time; more are asked to come again."""
_BUSY = (503, "busy", "Too many requests at once; send this again.", {"Retry-After": "1"})
_EVENTS = re.compile(rf"{WEBHOOK_PATH}/[^/]+")


class Door:
    """The application as the server sees it."""

    def __init__(self, app: FastAPI, webhook: Webhook | None) -> None:
        self.app = app
        self._webhook = webhook
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
