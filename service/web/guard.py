"""The API's door: the token is asked for before a byte of the body is read."""

import hmac
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from service.web.errors import Problem

BEARER = HTTPBearer(auto_error=False, description="ADMIN_TOKEN")

_EVERY = 1.0  # seconds between two lines about wrong tokens

_log = structlog.get_logger(__name__)


class _Refused:
    """Tells the log of wrong tokens, however many come; it holds nobody up, for the right one may be among them."""

    def __init__(self) -> None:
        self._untold = 0
        self._next = 0.0

    def note(self) -> None:
        """One more; nothing of it is kept."""
        self._untold += 1
        if time.monotonic() >= self._next:
            _log.warning("api_refused", times=self._untold)
            self._untold, self._next = 0, time.monotonic() + _EVERY


def guarded(admin_token: str) -> type[APIRoute]:
    """Routes that let in nobody but who holds `admin_token`."""

    refused = _Refused()

    class Guarded(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def enter(request: Request) -> Response:
                credentials = await BEARER(request)
                given = credentials.credentials if credentials else ""
                if not hmac.compare_digest(given.encode(), admin_token.encode()):
                    if given:
                        refused.note()
                    message = "Send the header `Authorization: Bearer ADMIN_TOKEN`."
                    raise Problem(401, "unauthorized", message, {"WWW-Authenticate": "Bearer"})
                return await handle(request)

            return enter

    return Guarded
