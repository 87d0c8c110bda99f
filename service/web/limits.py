"""Bounds on what a caller may send, held while reading, before anything looks at it; and on the way it comes."""

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.vello import MAX_BODY
from service.web.errors import Problem, problem

_REFUSAL = (413, "too_large", f"The body is larger than {MAX_BODY // 1024} KiB.")


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
    """Refuses a body over MAX_BODY as soon as that is known, with or without a Content-Length."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _declared_too_large(scope):
            await problem(*_REFUSAL)(scope, receive, send)
            return
        got = 0

        async def counted() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > MAX_BODY:
                raise Problem(*_REFUSAL)
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


def _declared_too_large(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return value.isdigit() and int(value[:20]) > MAX_BODY
    return False
