"""The API's door: the token is asked for before a byte of the body is read."""

import hmac
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from service.web.errors import Problem

BEARER = HTTPBearer(auto_error=False, description="ADMIN_TOKEN")


def guarded(admin_token: str) -> type[APIRoute]:
    """Routes that let in nobody but who holds `admin_token`."""

    class Guarded(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def enter(request: Request) -> Response:
                credentials = await BEARER(request)
                given = credentials.credentials if credentials else ""
                if not hmac.compare_digest(given.encode(), admin_token.encode()):
                    message = "Send the header `Authorization: Bearer ADMIN_TOKEN`."
                    raise Problem(401, "unauthorized", message, {"WWW-Authenticate": "Bearer"})
                return await handle(request)

            return enter

    return Guarded
