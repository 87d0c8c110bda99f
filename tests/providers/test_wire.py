"""Connections to vendors, byte by byte: what is an answer, what is lost, and what is kept for the next call."""

import asyncio
import functools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from providers.transport import NeverSent, Origin, Wires
from providers.wire import MAX_HEAD, AnswerLost, Reply, Wire
from tests.servers import message
from tests.waiting import outage, wait_until

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\n\r\n{}"
CLOSE = b""
"""A piece that closes the connection."""


class Host:
    """Says the pieces of one script after each request, one after the other."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.connections = 0
        self.open = 0
        self.proceed = asyncio.Event()  # between two pieces


@asynccontextmanager
async def host(*pieces: bytes, waits: bool = False, pause: float = 0.0) -> AsyncIterator[Host]:
    """A host that answers each request with `pieces`; with `waits` it goes on to the second when it is told to."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        itself.connections += 1
        itself.open += 1
        try:
            while True:
                await message(reader)
                for at, piece in enumerate(pieces):
                    if waits and at:
                        await itself.proceed.wait()
                    if pause and at:
                        await outage(pause)
                    if piece == CLOSE:
                        return
                    writer.write(piece)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            itself.open -= 1
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    itself = Host(Origin("http", "127.0.0.1", server.sockets[0].getsockname()[1]))
    async with server:
        yield itself
        itself.proceed.set()
        await wait_until(lambda: not itself.open)


@pytest.fixture
async def open_wires() -> AsyncIterator[Callable[..., Wires]]:
    """Clients that are closed after the test."""
    clients: list[Wires] = []

    def open_some(*, read: float = 10.0, keep: float = 10.0) -> Wires:
        clients.append(Wires(ssl.create_default_context, connect=10.0, read=read, keep=keep))
        return clients[-1]

    yield open_some
    for client in clients:
        await client.close()


@pytest.fixture
def wires(open_wires: Callable[..., Wires]) -> Wires:
    """One client."""
    return open_wires()


def ask(wires: Wires, at: Host, method: bytes = b"GET", most: int = 1000) -> Awaitable[Reply]:
    """One call without a body."""
    return wires.call(at.origin, method + b" / HTTP/1.1\r\nhost: x\r\n\r\n", most=most, bodiless=method == b"HEAD")


def in_bytes(reply: bytes) -> Sequence[bytes]:
    """A reply that comes byte by byte."""
    return [reply[at : at + 1] for at in range(len(reply))]


@pytest.mark.parametrize(
    "pieces",
    [
        [OK],
        in_bytes(OK),
        [CHUNKED],
        in_bytes(CHUNKED),
        [UNTIL_CLOSED, CLOSE],
        [b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", CLOSE],
        [b"HTTP/1.1 100 Continue\r\n\r\n" + OK],
        [b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n", OK],
        [CHUNKED[:-2] + b"link: x\r\n\r\n"],
    ],
    ids=[
        "length",
        "length bytewise",
        "chunked",
        "chunked bytewise",
        "until closed",
        "old",
        "continue",
        "interim",
        "trailer",
    ],
)
async def test_an_answer_is_read_however_it_is_framed_and_cut(wires: Wires, pieces: Sequence[bytes]) -> None:
    async with host(*pieces) as at:
        reply = await ask(wires, at)
        await wires.close()
    assert (reply.status, reply.body) == (200, b"{}")
    assert b"link" not in dict(reply.headers)


@pytest.mark.parametrize(
    "pieces",
    [
        [CLOSE],
        [OK[:-1], CLOSE],
        [CHUNKED[:-2], CLOSE],
        [b"HTTP/1.1 200 OK\r\n", CLOSE],
        [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"],
        [b"HTTP/1.1 100 Continue\r\n\r\n", CLOSE],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}"],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}"],
        [b"HTTP/1.1 200 OK\r\nx: " + b"x" * MAX_HEAD],
        [b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * MAX_HEAD],
        [b"HTTP/1.1 100 Continue\r\n\r\n" * MAX_HEAD],
        [b"HTTP/1.1 200 OK\r\nx: " + b"x" * MAX_HEAD + b"\r\ncontent-length: 2\r\n\r\n{}"],
    ],
    ids=[
        "nothing",
        "short",
        "unfinished chunks",
        "half a head",
        "another protocol",
        "interim only",
        "length and chunks",
        "two lengths",
        "endless header",
        "endless headers",
        "endless interim answers",
        "large head",
    ],
)
async def test_what_is_no_whole_answer_is_lost_and_its_connection_closed(wires: Wires, pieces: Sequence[bytes]) -> None:
    async with host(*pieces) as at:
        with pytest.raises(AnswerLost):
            await ask(wires, at)
        await wait_until(lambda: not at.open)


@pytest.mark.parametrize("reply", [OK, CHUNKED, b"HTTP/1.1 204 No Content\r\n\r\n"], ids=["length", "chunked", "empty"])
async def test_a_connection_that_is_in_order_carries_the_next_call(wires: Wires, reply: bytes) -> None:
    async with host(reply) as at:
        for _ in range(3):
            await ask(wires, at)
        assert (at.connections, at.open) == (1, 1)
        await wires.close()


@pytest.mark.parametrize(
    ("pieces", "method"),
    [
        ([OK + b"more"], b"GET"),
        ([OK + OK], b"GET"),
        ([OK.replace(b"200 OK", b"200 OK\r\nconnection: close")], b"GET"),
        ([b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}"], b"GET"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"], b"HEAD"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" + b"x" * 2000], b"GET"),
    ],
    ids=["something more", "another answer", "asked to", "old", "head alone", "too long"],
)
async def test_a_connection_that_may_not_be_in_order_is_closed_after_its_answer(
    wires: Wires, pieces: Sequence[bytes], method: bytes
) -> None:
    async with host(*pieces) as at:
        reply = await ask(wires, at, method)
        assert reply.status == 200
        assert len(reply.body) <= 2000
        await wait_until(lambda: not at.open)
        await ask(wires, at, method)
        assert at.connections == 2


async def test_a_connection_that_nobody_uses_is_closed_after_a_while(open_wires: Callable[..., Wires]) -> None:
    wires = open_wires(keep=0.2)
    async with host(OK) as at:
        for _ in range(2):
            await asyncio.gather(ask(wires, at), ask(wires, at))
            assert at.open == 2
            await wait_until(lambda: not at.open)
        assert at.connections == 4


async def test_what_comes_unasked_between_two_calls_is_no_answer_to_the_second(wires: Wires) -> None:
    async with host(OK, OK.replace(b"{}", b"[]"), waits=True) as at:
        assert (await ask(wires, at)).body == b"{}"
        at.proceed.set()
        await wait_until(lambda: not at.open)
        assert (await ask(wires, at)).body == b"{}"
        assert at.connections == 2


async def test_a_connection_its_host_closed_meanwhile_is_not_used(wires: Wires) -> None:
    async with host(OK, CLOSE, waits=True) as at:
        await ask(wires, at)
        at.proceed.set()
        await wait_until(lambda: not at.open)
        assert (await ask(wires, at)).status == 200
        assert at.connections == 2


async def test_a_connection_that_was_idle_for_too_long_is_not_used_when_the_loop_was_held_up(
    open_wires: Callable[..., Wires],
) -> None:
    """Its host may have closed it, which nobody has heard yet."""
    wires, loop = open_wires(keep=0.05), asyncio.get_running_loop()
    async with host(OK) as at:
        await ask(wires, at)
        until = loop.time() + 0.05
        while loop.time() <= until:
            pass
        await ask(wires, at)
        assert at.connections == 2
        await wires.close()


async def test_an_answer_may_take_longer_than_the_wait_for_its_next_byte(open_wires: Callable[..., Wires]) -> None:
    wires = open_wires(read=4.5)
    async with host(OK[:10], OK[10:20], OK[20:30], OK[30:], pause=1.6) as at:
        assert (await ask(wires, at)).status == 200
        await wires.close()


async def test_an_answer_that_stops_is_lost_after_that_wait(open_wires: Callable[..., Wires]) -> None:
    async with host(OK[:20], OK[20:], waits=True) as at:
        with pytest.raises(AnswerLost):
            await ask(open_wires(read=0.2), at)
        at.proceed.set()
        await wait_until(lambda: not at.open)


async def test_a_call_that_is_given_up_closes_its_connection(wires: Wires) -> None:
    async with host(OK[:20], OK[20:], waits=True) as at:
        call = asyncio.ensure_future(ask(wires, at))
        await wait_until(lambda: at.open == 1)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        at.proceed.set()
        await wait_until(lambda: not at.open)


async def test_calls_at_the_same_time_have_a_connection_each(wires: Wires) -> None:
    async with host(OK[:20], OK[20:], waits=True) as at:
        calls = [asyncio.ensure_future(ask(wires, at)) for _ in range(5)]
        await wait_until(lambda: at.connections == 5)
        at.proceed.set()
        assert [reply.status for reply in await asyncio.gather(*calls)] == [200] * 5
        await asyncio.gather(*[ask(wires, at) for _ in range(5)])
        assert at.connections == 5
        await wires.close()


async def test_a_call_in_flight_at_the_end_loses_its_answer(wires: Wires) -> None:
    async with host(OK[:20], OK[20:], waits=True) as at:
        call = asyncio.ensure_future(ask(wires, at))
        await wait_until(lambda: at.open == 1)
        await wires.close()
        with pytest.raises(AnswerLost):
            await call


async def test_an_answer_that_ends_with_its_connection_is_not_whole_when_we_are_who_closes_it() -> None:
    class Listening(Wire):
        def __init__(self) -> None:
            super().__init__()
            self.heard = asyncio.Event()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.heard.set()

    async with host(UNTIL_CLOSED, CLOSE, waits=True) as at:
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(Listening, at.origin.host, at.origin.port)
        request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
        call = asyncio.ensure_future(wire.call(request, read=5.0, most=1000, bodiless=False))
        await wire.heard.wait()
        wire.close()
        with pytest.raises(AnswerLost):
            await call


async def test_a_name_that_leads_nowhere_is_looked_up_again(wires: Wires) -> None:
    for _ in range(2):
        with pytest.raises(NeverSent):
            await wires.call(Origin("http", "nobody.invalid", 80), b"", most=1, bodiless=False)


async def test_of_several_addresses_one_that_answers_is_enough(wires: Wires) -> None:
    """`localhost` is two of them on most machines, and the host listens on one."""
    async with host(OK) as at:
        at.origin = at.origin._replace(host="localhost")
        assert (await ask(wires, at)).status == 200
        await wires.close()


def test_it_is_the_same_on_the_loop_that_the_service_runs_on() -> None:
    """uvloop has transports of its own."""
    uvloop = pytest.importorskip("uvloop")

    async def calls() -> None:
        wires = Wires(ssl.create_default_context, connect=10.0, read=2.0)
        async with host(OK) as at:
            assert [(await ask(wires, at)).status for _ in range(2)] == [200, 200]
            assert at.connections == 1
            await wires.close()
        async with host(OK[:20], CLOSE) as at:
            with pytest.raises(AnswerLost):
                await ask(wires, at)
        async with host(UNTIL_CLOSED, CLOSE) as at:
            assert (await ask(wires, at)).body == b"{}"
        with pytest.raises(NeverSent):
            await wires.call(at.origin, b"", most=1, bodiless=False)

    with asyncio.Runner(loop_factory=functools.partial(uvloop.new_event_loop)) as runner:
        runner.run(calls())
