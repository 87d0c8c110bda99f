"""One connection to a vendor's host: HTTP/1.1, one call at a time, read by llhttp (httptools).

It is for calls of our kind alone: a whole request in one write, a whole answer in memory, nothing that is streamed.
"""

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from providers.limit import GRACE, HELD_UP

MAX_HEAD: Final = 32 * 1024
"""Largest status line and headers together that are read, in bytes."""

_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})  # methods whose length is said even when it is 0
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


class AnswerLost(Exception):
    """The call may have arrived; its answer did not."""


class Reply(NamedTuple):
    """What came back; `body` breaks off where it gets longer than was asked for."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def named(self) -> dict[str, str]:
        """The headers by their names in lower case; of several of one name all, as RFC 9110 joins them (5.3)."""
        read: dict[str, str] = {}
        for raw_name, raw in self.headers:
            name, value = raw_name.decode("latin-1").lower(), raw.decode("latin-1")
            read[name] = f"{read[name]}, {value}" if name in read else value
        return read


def packed(method: str, path: str, netloc: str, headers: Mapping[str, str], body: str | bytes) -> bytes:
    """A request as it goes over the wire. Raises ValueError for one that would become something else."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"{method} {path} HTTP/1.1", f"host: {netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if content or method in _WITH_BODY:
        lines.append(f"content-length: {len(content)}")
    head = "\r\n".join(lines)
    if "\0" in head or head.count("\n") >= len(lines) or head.count("\r") >= len(lines):
        raise ValueError("A line holds the end of a line.")
    return b"%b\r\n\r\n%b" % (head.encode("ascii"), content)


class _Reading:
    """An answer while it arrives; llhttp calls the methods that begin with `on`."""

    def __init__(self, most: int, *, bodiless: bool) -> None:
        self.reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.in_order = False  # all of it was read, nothing else came, and the host goes on listening
        self._parser = HttpResponseParser(self)
        self._most = most
        self._bodiless = bodiless
        self._status = 0  # of the answer that counts, once its head is complete
        self._head = 0  # bytes of a head that is not complete
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = bytearray()
        self._framed = True

    def feed(self, data: bytes) -> None:
        """Read on."""
        if self.reply.done():  # nobody asked for more
            self.in_order = False
            return
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self.lose()
        if not self._status:
            self._head += len(data)
            if self._head > MAX_HEAD:
                self.lose()

    def end(self) -> None:
        """The host closed the connection: so ends an answer that does not say how long it is."""
        if self._status and not self._framed:
            self._finish()
        self.lose()

    def lose(self) -> None:
        """It will not become an answer, unless it is one already."""
        self.in_order = False
        if not self.reply.done():
            self.reply.set_exception(AnswerLost)

    def on_message_begin(self) -> None:
        if self.reply.done():
            self.in_order = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._status:  # else it is a trailer, which may be one of many and says nothing here
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # an interim answer: the one that counts follows
            self._headers = []
            return
        self._status = status
        self._framed = any(name.lower() in _FRAMING for name, _ in self._headers)
        if sum(len(name) + len(value) for name, value in self._headers) > MAX_HEAD:
            self.lose()
        elif self._bodiless:
            self._finish()

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > self._most:
            self._finish()

    def on_message_complete(self) -> None:
        if self._status and not self.reply.done():
            self._finish()
            self.in_order = self._parser.should_keep_alive()

    def _finish(self) -> None:
        if not self.reply.done():
            self.reply.set_result(Reply(self._status, self._headers, bytes(self._body)))


class Wire(asyncio.Protocol):
    """One connection that is open."""

    def __init__(self) -> None:
        self._reading: _Reading | None = None
        self._heard = 0.0
        self._patience = 0.0

    @property
    def closed(self) -> bool:
        """It carries no more calls."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close it at once; a call that waits loses its answer."""
        if self._reading:  # else an answer that ends with its connection would count as whole
            self._reading.lose()
        self._transport.abort()

    async def call(self, request: bytes, *, read: float, most: int, bodiless: bool) -> Reply:
        """Send a whole request and wait for its answer, `read` seconds at most without a byte of it.

        Of the body no more is read than it takes to know that it is longer than `most` bytes. `bodiless` is for a
        HEAD. Whatever leaves the connection in disorder closes it. Raises: AnswerLost.
        """
        loop = asyncio.get_running_loop()
        self._reading = reading = _Reading(most, bodiless=bodiless)
        self._heard, self._patience = loop.time(), read
        self._timer = loop.call_later(read, self._look)
        self._transport.write(request)
        try:
            return await reading.reply
        finally:
            self._timer.cancel()
            self._reading = None
            if not reading.in_order:
                self.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        if self._reading:
            (self._reading.lose if exc else self._reading.end)()

    def data_received(self, data: bytes) -> None:
        """Read on; what comes while nobody asks for anything cannot be told from the next answer."""
        if self._reading is None:
            self.close()
            return
        self._heard = asyncio.get_running_loop().time()
        self._reading.feed(data)

    def _look(self) -> None:
        loop, reading = asyncio.get_running_loop(), self._reading
        left = self._heard + self._patience - loop.time()
        if left < -HELD_UP:
            left = GRACE
            self._heard = loop.time() + left - self._patience
        if left > 0:
            self._timer = loop.call_later(left, self._look)
        elif reading:
            reading.lose()
