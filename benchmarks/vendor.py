"""A provider that costs next to nothing: the reference server's create and update, answered after a fixed time.

Started as `python -m benchmarks.vendor PORT SECONDS`; speaks just enough HTTP for `providers/memory.py`.
"""

import asyncio
import itertools
import json
import sys
from typing import Any, Final

import uvloop

_NUMBERS = itertools.count(1)
_END: Final = b"\r\n\r\n"


class Vendor(asyncio.Protocol):
    """One kept-alive connection; answers one request after the other."""

    def __init__(self, url: str, seconds: float) -> None:
        self._url = url
        self._seconds = seconds
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        self._transport: Any = transport  # uvloop's own kind

    def data_received(self, data: bytes) -> None:
        """Answer every whole request, in time."""
        self._buffer += data
        while (end := self._buffer.find(_END)) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            path = self._buffer.split(b" ", 2)[1].decode()
            self._buffer = self._buffer[end + 4 + length :]
            asyncio.get_running_loop().call_later(self._seconds, self._answer, path)

    def _answer(self, path: str) -> None:
        if self._transport.is_closing():
            return
        name = path.removeprefix("/meetings/") if path.startswith("/meetings/") else f"m{next(_NUMBERS)}"
        body = json.dumps({"id": name, "join_url": f"{self._url}/join/{name}"}).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


async def main(port: int, seconds: float) -> None:
    """Serve until stopped."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Vendor(f"http://127.0.0.1:{port}", seconds), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1]), float(sys.argv[2])))
