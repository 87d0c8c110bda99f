"""Files of ours that pages load under a name with their content's hash, so that browsers may keep them for good."""

import hashlib
from importlib import resources
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_TYPES: Final = {"js": "text/javascript", "css": "text/css"}
_HEADERS: Final = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}


class Asset:
    """One file of `static/`. A page of another version asks for another name, gets a 404 and does without."""

    def __init__(self, name: str) -> None:
        self._body = resources.files("service.web").joinpath("static", name).read_bytes()
        stem, _, kind = name.rpartition(".")
        self._media_type = _TYPES[kind]
        self.path = f"/static/{stem}.{hashlib.sha256(self._body).hexdigest()[:16]}.{kind}"

    def route(self) -> Route:
        """Where it is."""
        return Route(self.path, self._send, methods=["GET"])

    async def _send(self, _: Request) -> Response:
        return Response(self._body, 200, _HEADERS, media_type=self._media_type)
