"""The HTTP server: uvicorn with bounds on connections, on a request's head, and on how slowly clients send or take."""

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import Iterator
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

MAX_CONNECTIONS: Final = 4096
"""Connections at a time; more are closed at once."""
MAX_HEAD: Final = 32 * 1024
"""Largest request line and headers together, in bytes."""
ARRIVAL_SECONDS: Final = 20.0
"""Seconds from a request's first byte (or a connection's beginning) until all of it must be here."""
TAKING_SECONDS: Final = 20.0
"""Seconds in which something of an answer must be taken, while there is more of it."""
GRACE: Final = 15
"""Seconds that requests may take to finish at a stop."""

_SWEEP = 1.0  # seconds between two looks at what is late
_LARGE_HEAD = (431, "head_too_large", f"The headers are larger than {MAX_HEAD // 1024} KiB.")


class _Joined:
    """A transport that sends what is written in one turn of the loop at once: head and body in one packet, not two."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._kept = b""
        self._written = 0

    @property
    def sent(self) -> int | None:
        """Bytes that the system took for the other side so far; None while it has all of them."""
        left = self._transport.get_write_buffer_size()
        return self._written - left if left else None

    def write(self, data: bytes) -> None:
        """Keep it for what follows, or send it with what was kept."""
        if self._kept:
            data, self._kept = self._kept + data, b""
            self._send(data)
        elif data:
            self._kept = data
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Send what was kept, and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._kept:
            kept, self._kept = self._kept, b""
            self._send(kept)

    def _send(self, data: bytes) -> None:
        if not self._transport.is_closing():  # uvloop raises where asyncio hears nothing
            self._written += len(data)
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `since` is when the request that is arriving began, None while none is."""

    max_connections = MAX_CONNECTIONS
    arrival_seconds = ARRIVAL_SECONDS
    taking_seconds = TAKING_SECONDS
    cycle: RequestResponseCycle | None  # type: ignore[assignment] # as it is until the first request
    since: float | None = None
    _got = 0  # bytes of the request that arrives, as far as they are looked at
    _in_head = True
    _refused = False
    _taken: tuple[float, int] | None = None  # since when no more than so many bytes of the answers were taken

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Turn away what is too much; from now on the first request must arrive."""
        super().connection_made(transport)
        self.transport = cast(asyncio.Transport, _Joined(transport, self.loop))
        self.since = self.loop.time()
        if len(self.connections) > self.max_connections:
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Refuse a head that goes on and on; once refused, hear nothing more."""
        if self._refused:
            return
        self._got += len(data)
        if self.since is None and (self.cycle is None or self.cycle.response_complete):
            self.since = self.loop.time()  # whatever it is: an empty line begins no request and ends the keep-alive
        super().data_received(data)
        if self._got > MAX_HEAD and self._in_head:
            self._refuse(*_LARGE_HEAD)

    def on_message_begin(self) -> None:
        """A request begins to arrive."""
        super().on_message_begin()
        self._in_head = True
        self.since = self.loop.time()

    def on_headers_complete(self) -> None:
        """Refuse a head that came in one piece and is too large all the same."""
        self._in_head = False
        large = self._got > MAX_HEAD and len(self.url) + sum(len(a) + len(b) for a, b in self.headers) > MAX_HEAD
        self._got = 0
        if large:
            self._refuse(*_LARGE_HEAD)
        if not self._refused:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """All of it is here."""
        self.since, self._got = None, 0
        if not self._refused:
            super().on_message_complete()

    def drop_if_late(self, now: float) -> None:
        """Answer and close when the request has been arriving for too long; close when no answer is taken."""
        sent = cast(_Joined, self.transport).sent
        if sent is None:
            self._taken = None
        elif self._taken is None or self._taken[1] != sent:
            self._taken = now, sent
        elif now - self._taken[0] > self.taking_seconds:
            self.transport.abort()
            return
        if self.since is not None and now - self.since > self.arrival_seconds:
            self._refuse(408, "too_slow", f"The request did not arrive within {self.arrival_seconds:g} seconds.")

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._refused, self.since = True, None
        cycle = self.cycle
        if cycle and (cycle.response_started if cycle.more_body else not cycle.response_complete):
            self.transport.abort()  # it has its answer, or is in the middle of one: there is no place for another
            return
        body = json.dumps({"error": {"code": code, "message": message}}).encode()
        head = f"HTTP/1.1 {status} \r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(f"{head}connection: close\r\n\r\n".encode() + body)
        self.transport.close()


class Server(uvicorn.Server):
    """uvicorn without its signal handling, which would end the process before the runs are drained."""

    def __init__(self, app: ASGIApp, protocol: type[BoundedProtocol] = BoundedProtocol) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=GRACE,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM and SIGINT."""
        loop = asyncio.get_running_loop()
        for which in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(which, self.handle_exit, which, None)
        yield

    async def run_on(self, *listeners: socket.socket) -> None:
        """Serve until a signal; then finish what is being answered."""
        sweeper = asyncio.create_task(self._sweep(), name="late requests")
        try:
            await self.serve(list(listeners))
        finally:
            sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sweeper

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP)
            for connection in list(self.server_state.connections):
                if isinstance(connection, BoundedProtocol):
                    connection.drop_if_late(loop.time())
