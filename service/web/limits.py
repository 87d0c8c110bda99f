"""Bounds on what a caller may send, held while reading, before anything looks at it; and on the way it comes."""

import re

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.picture import TOO_LARGE, UPLOAD
from service.vello import MAX_BODY
from service.web.errors import Problem, problem

_API_UPLOAD, _UPLOAD = "/api/v1/logos", re.compile(r"/offices/[^/]+/look")  # addresses that take a picture
_PICTURE = UPLOAD + 16 * 1024  # bytes: what a form adds to its file, and some
_REFUSAL = (413, "too_large", f"The body is larger than {MAX_BODY // 1024} KiB.")
_LARGE_PICTURE = (413, "too_large", TOO_LARGE)


class Strict:
    """Behind https: tells browsers with every answer to come over nothing else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = (b"strict-transport-security", b"max-age=31536000")
                message = {**message, "headers": [*message.get("headers", ()), told]}
            await send(message)

        await self._app(scope, receive, sent)


class BodyLimit:
    """Refuses a body over MAX_BODY, or with a picture over 1 MB, as soon as that is known: told beforehand or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        person = _UPLOAD.fullmatch(scope["path"]) is not None  # who sends a form gets a page, not JSON
        upload = person or scope["path"] == _API_UPLOAD
        most, refusal = (_PICTURE, _LARGE_PICTURE) if upload else (MAX_BODY, _REFUSAL)
        if not person and _declared_too_large(scope, most):
            await problem(*refusal)(scope, receive, send)
            return
        got = 0

        async def counted() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > most:
                raise Problem(*refusal)
            return message

        await self._app(scope, counted, send)


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The whole body. Raises: Problem for one over MAX_BODY, ClientDisconnect when the caller went away."""
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY or (more and _declared_too_large(scope)):
            raise Problem(*_REFUSAL)
        if not more:
            return body


def _declared_too_large(scope: Scope, most: int = MAX_BODY) -> bool:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return value.isdigit() and int(value[:20]) > most
    return False
