"""The server's bounds: who sends too much, too slowly or too often is answered and let go; nobody waits for it."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from service.web.limits import read_body
from service.web.server import MAX_HEAD, BoundedProtocol, Server
from service.web.webhook import Answer
from tests.waiting import outage, wait_until

LARGE = b"x-large: " + b"x" * MAX_HEAD
PIECE, LARGEST = 1 << 16, 1 << 25  # more than the systems of both sides keep


class Hasty(BoundedProtocol):
    """One that waits for less."""

    arrival_seconds = 1.0
    taking_seconds = 2.0
    max_connections = 20


class Echo:
    """Reads the body and says how long it was; `/at-once` answers without reading, `/large` with very much."""

    def __init__(self) -> None:
        self.gone = 0
        self.given = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/large":
            await self._give(send)
            return
        try:
            length = 0 if scope["path"] == "/at-once" else len(await read_body(scope, receive))
        except ClientDisconnect:
            self.gone += 1
            return
        await Answer({"length": length})(scope, receive, send)

    async def _give(self, send: Any) -> None:
        headers = [(b"content-length", str(LARGEST).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for left in range(LARGEST - PIECE, -1, -PIECE):
            await send({"type": "http.response.body", "body": b"x" * PIECE, "more_body": left > 0})
        self.given += 1


@asynccontextmanager
async def served(app: Echo) -> AsyncIterator[int]:
    """The port of a server of `app`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(app, Hasty)
        running = asyncio.create_task(server.run_on(listener))
        await wait_until(lambda: server.started)
        yield listener.getsockname()[1]
        server.should_exit = True
        await running


class Caller:
    """One connection, by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, Any]:
        """Status and JSON."""
        async with asyncio.timeout(10):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            return int(head.split(b" ")[1]), json.loads(await self.reader.readexactly(length))

    async def rest(self) -> int:
        """How many bytes still come until the server lets go."""
        count = 0
        with suppress(ConnectionError):
            async with asyncio.timeout(10):
                while data := await self.reader.read(PIECE):
                    count += len(data)
        return count

    async def closed(self) -> bool:
        """The server let go of it."""
        try:
            async with asyncio.timeout(10):
                return not await self.reader.read()
        except ConnectionError:
            return True


@pytest.fixture
async def app() -> Echo:
    return Echo()


Call = Callable[[], Awaitable[Caller]]


@pytest.fixture
async def call(port: int) -> AsyncIterator[Call]:
    """Opens connections, which are closed in the end."""
    callers: list[Caller] = []

    async def connect() -> Caller:
        callers.append(Caller(*await asyncio.open_connection("127.0.0.1", port)))
        return callers[-1]

    yield connect
    for caller in callers:
        caller.writer.close()
        with suppress(ConnectionError):
            await caller.writer.wait_closed()


@pytest.fixture
async def port(app: Echo) -> AsyncIterator[int]:
    async with served(app) as port:
        yield port


async def test_requests_are_answered_one_after_the_other_on_one_connection(call: Call) -> None:
    caller = await call()
    for length in (0, 5, 100_000):
        caller.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % length + b"x" * length)
        assert await caller.answer() == (200, {"length": length})
    pipelined = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nab"
    caller.send(pipelined * 3)
    assert [await caller.answer() for _ in range(3)] == [(200, {"length": 2})] * 3


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"POST / HT",
        b"POST / HTTP/1.1\r\nhost: x\r\nx-a: ",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
async def test_who_sends_a_request_in_drops_is_let_go_in_time(app: Echo, call: Call, beginning: bytes) -> None:
    caller = await call()
    caller.send(beginning)
    status, problem = await caller.answer()
    assert (status, problem["error"]["code"]) == (408, "too_slow")
    assert await caller.closed()
    await wait_until(lambda: app.gone == (b"\r\n\r\n" in beginning))


async def test_the_time_counts_for_the_second_request_too(call: Call) -> None:
    caller = await call()
    caller.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await caller.answer())[0] == 200
    caller.send(b"GET / HT")
    assert (await caller.answer())[0] == 408


async def test_who_keeps_sending_after_its_answer_is_let_go(call: Call) -> None:
    caller = await call()
    caller.send(b"POST /at-once HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc")
    assert await caller.answer() == (200, {"length": 0})
    assert await caller.closed()


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\nhost: x\r\n", b"GET /" + b"x" * MAX_HEAD + b" HTTP/1.1\r\n"])
async def test_a_head_that_is_too_large_is_refused_whole_or_in_pieces(call: Call, head: bytes) -> None:
    for pieces in ([head + LARGE + b"\r\n\r\n"], [head, LARGE[:20_000], LARGE[20_000:], b"x" * 20_000]):
        caller = await call()
        for piece in pieces:
            caller.send(piece)
            await caller.writer.drain()
        status, problem = await caller.answer()
        assert (status, problem["error"]["code"]) == (431, "head_too_large")
        assert await caller.closed()


async def test_a_head_just_below_the_limit_is_read(call: Call) -> None:
    caller = await call()
    caller.send(b"GET / HTTP/1.1\r\nhost: x\r\nx-large: " + b"x" * (MAX_HEAD - 100) + b"\r\n\r\n")
    assert (await caller.answer())[0] == 200


async def test_many_slow_ones_hold_up_nobody_and_too_many_are_turned_away(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hasty, "arrival_seconds", 4.0)
    slow = [await call() for _ in range(19)]
    for one in slow:
        one.send(b"POST / HTTP/1.1\r\n")
    caller = await call()
    caller.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await caller.answer())[0] == 200
    turned_away = await call()
    assert await turned_away.closed()
    assert [(await one.answer())[0] for one in slow] == [408] * 19
    again = await call()
    again.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await again.answer())[0] == 200


async def test_a_head_in_pieces_after_a_large_body_is_read(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hasty, "arrival_seconds", 4.0)
    caller = await call()
    caller.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 40000\r\n\r\n")
    await caller.writer.drain()
    caller.send(b"x" * 40_000)
    assert await caller.answer() == (200, {"length": 40_000})
    caller.send(b"GET / HTTP/1.1\r\nho")
    await caller.writer.drain()
    await outage(0.05)
    caller.send(b"st: x\r\n\r\n")
    assert await caller.answer() == (200, {"length": 0})


async def test_a_large_head_behind_a_body_that_nobody_read_is_refused(call: Call) -> None:
    caller = await call()
    caller.send(b"POST /at-once HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n")
    assert (await caller.answer())[0] == 200
    caller.send(b"abcGET / HTTP/1.1\r\nhost: x\r\n")
    for _ in range(4):
        caller.send(LARGE[:12_000] + b"\r\n")
        await caller.writer.drain()
        await outage(0.02)
    assert await caller.closed()


async def test_an_empty_line_keeps_no_connection_open(call: Call) -> None:
    caller = await call()
    caller.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await caller.answer())[0] == 200
    caller.send(b"\r\n")
    assert (await caller.answer())[0] == 408
    assert await caller.closed()


async def test_who_takes_nothing_of_its_answer_is_let_go_in_time(app: Echo, call: Call) -> None:
    caller = await call()
    caller.send(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
    await wait_until(lambda: app.given == 1, 20)
    assert await caller.rest() < LARGEST


async def test_who_takes_nothing_of_its_answer_and_sends_on_is_let_go_too(app: Echo, call: Call) -> None:
    """What waits behind an answer has arrived: nothing else bounds it."""
    caller = await call()
    caller.send(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n" * 3)
    await wait_until(lambda: app.given == 1, 20)
    assert await caller.rest() < LARGEST


async def test_who_takes_its_answer_slowly_gets_all_of_it(app: Echo, call: Call) -> None:
    caller = await call()
    caller.send(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
    async with asyncio.timeout(50):
        await caller.reader.readuntil(b"\r\n\r\n")
        for _ in range(8):
            await outage(0.5)
            await caller.reader.readexactly(LARGEST // 8)
    assert app.given == 1
