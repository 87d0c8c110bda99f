"""The reference meeting server under bad weather: `python -m tests.chaos.weather --port 0`.

    PUT  /weather    what befalls calls from now on, see `Weather`; {} clears the sky
    GET  /weather    {"befell": {what: how many calls}, "story": [what came, what befell it and what it did]}

Everything else is `providers.memory_server`. A call may be refused or cut off before anything happened, and it may
happen and its answer be lost, late, or replaced by a gateway's excuse.
"""

import argparse
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from json import dumps, loads
from typing import Any

import uvicorn
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from providers.memory_server import State, application
from tests.waiting import outage

_REFUSALS = (429, 500, 502, 503, 504)
_EXCUSES = (500, 502, 504)
_OURS = ("/faults", "/calls", "/reset", "/join", "/weather", "/fake")


class Weather(BaseModel):
    """What befalls calls by chance; `refused` to `hung` are shares of them, times are seconds.

    `delay` is the longest wait before a call happens, `linger` the longest between its happening and its answer, and
    most wait much less. `only` names the one method that is concerned.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    refused: float = Field(default=0.0, description="Answered with 429 or 5xx, and nothing happens.")
    cut: float = Field(default=0.0, description="The connection ends, before or after it was read; nothing happens.")
    lost: float = Field(default=0.0, description="It happens; the answer is cut off or a gateway's 5xx.")
    hung: float = Field(default=0.0, description="It happens; the answer comes after whoever asked gave up.")
    delay: float = 0.0
    even: bool = Field(default=False, description="Every call waits all of `delay`.")
    linger: float = 0.0
    hang: float = 12.0
    spares: bool = Field(default=True, description="The second of two creates of one name gets its answer.")
    only: str | None = None


class Sky:
    """A server behind its weather, as an ASGI application.

    `second` says of a create whether there is a meeting of its name already.
    """

    def __init__(self, app: ASGIApp, second: Callable[[Scope, bytes], bool]) -> None:
        self._app = app
        self._makes_a_second = second
        self._weather = Weather()
        self._chance = random.Random()  # noqa: S311 - it must be repeatable
        self._befell: Counter[str] = Counter()
        self._story: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope.get("path", "")
        if path == "/weather":
            await self._weathered(scope, receive, send)
        elif scope["type"] != "http" or path.startswith(_OURS) or _lists(scope):
            await self._app(scope, receive, send)
        else:
            await self._call(scope, receive, send)

    async def _weathered(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "PUT":
            self._weather = Weather.model_validate(loads(await _body(receive)))
            self._chance = random.Random(self._weather.seed)  # noqa: S311 - it must be repeatable
        await _answer(send, 200, {"befell": self._befell, "story": self._story})

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        weather, chance = self._weather, self._chance
        if weather.only not in (None, scope["method"]):
            weather = Weather()
        fate, unread, which = self._fate(weather), chance.random() < 0.5, chance.random()
        delay = weather.delay * (1.0 if weather.even else chance.random() ** 2)
        linger = weather.linger * chance.random() ** 3
        self._befell[fate] += 1
        about = f"{scope['method']} {scope['path']} {scope['query_string'].decode()}"
        if fate == "cut" and unread:
            self._tell(about, "cut unread")
            return await _cut(scope, receive)
        body = await _body(receive)  # who hangs up while it waits has asked all the same
        about += body.decode()
        self._tell(about, f"came: {fate}")
        await outage(delay)
        if fate == "cut":
            return await _cut(scope, receive)
        if fate == "refused":
            return await _answer(send, _REFUSALS[int(which * len(_REFUSALS))], {"code": "fault", "message": "Not now."})
        if fate in ("lost", "hung") and self._second(scope, body):
            fate = "answered"
        answer = await self._happens(scope, body)
        self._tell(about, f"happened: {b''.join(message.get('body', b'') for message in answer).decode()}")
        await outage(weather.hang if fate == "hung" else linger)
        if fate == "lost":
            how = int(which * (len(_EXCUSES) + 2))
            self._tell(about, f"lost: {'cut' if how < 2 else _EXCUSES[how - 2]}")
            return await _lose(scope, receive, send, how)
        if scope["state"]["transport"].is_closing():
            self._tell(about, "nobody listens")
        for message in answer:
            await send(message)

    def _tell(self, about: str, what: str) -> None:
        self._story.append(f"{time.time():.3f} {about} {what}")

    def _fate(self, weather: Weather) -> str:
        drawn = self._chance.random()
        for fate in ("refused", "cut", "lost", "hung"):
            drawn -= getattr(weather, fate)
            if drawn < 0:
                return fate
        return "answered"

    def _second(self, scope: Scope, body: bytes) -> bool:
        """Whether this makes a second meeting of one name, as only a process does that lost its lease.

        Its answer is spared in most weather: beside the first, nobody could find it through `find`, which answers one.
        """
        return scope["method"] == "POST" and self._weather.spares and self._makes_a_second(scope, body)

    async def _happens(self, scope: Scope, body: bytes) -> list[Message]:
        answer: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            answer.append(message)

        await self._app(scope, receive, send)
        return answer


class _Cuttable(HttpToolsProtocol):
    """HTTP whose application may end the connection without a word."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["transport"] = self.transport


def _lists(scope: Scope) -> bool:
    """Whether the storm asks for all meetings; adapters always ask for one key."""
    return bool(scope["path"] == "/meetings" and scope["method"] == "GET" and not scope["query_string"])


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _cut(scope: Scope, receive: Receive) -> None:
    scope["state"]["transport"].abort()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _lose(scope: Scope, receive: Receive, send: Send, how: int) -> None:
    """Cut the connection, break the answer off in its middle, or say what a gateway says."""
    if how == 0:
        await _cut(scope, receive)
    elif how == 1:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
    else:
        await _answer(send, _EXCUSES[how - 2], {"code": "gateway", "message": "Who knows."})


async def _answer(send: Send, status: int, value: Any) -> None:
    body = dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def reference(url: str) -> Sky:
    """The reference meeting server at `url`."""
    state = State(url)

    def second(_: Scope, body: bytes) -> bool:
        new = loads(body)
        return state.faults.forgetful and state.ids.get((new["key"], new["generation"])) is not None

    return Sky(application(state), second)


def main(sky_at: Callable[[str], Sky] = reference) -> None:
    """Listen on one address until stopped; the first line printed is the server's URL."""
    parser = argparse.ArgumentParser(description="A vendor in a storm.")
    parser.add_argument("--port", type=int, default=0)
    listener = socket.create_server(("127.0.0.1", parser.parse_args().port))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
    config = uvicorn.Config(sky_at(url), http=_Cuttable, lifespan="off", access_log=False, log_level="critical")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
