"""Real servers on free loopback ports: the reference meeting server and one that misbehaves to the byte."""

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Any, Self

import httpx

from tests.ports import NO_TLS
from tests.waiting import closed


class MemoryServer:
    """The reference meeting server as a process of its own.

    Use it as a context manager, plain or async, or with `start` and `stop`. `stop` kills it.
    """

    module = "providers.memory_server"

    def __init__(self, token: str | None = None) -> None:
        self.token = token
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        """Start it on a free port and come back when it takes calls."""
        self._spawn()
        self._listen()
        return self

    def _spawn(self) -> None:
        command = [sys.executable, "-m", self.module, "--port", "0"]
        command += ["--token", self.token] if self.token else []
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def _listen(self) -> None:
        assert self._process
        assert self._process.stdout
        self.url = self._process.stdout.readline().strip()
        assert self.url, "the reference server did not start"

    def stop(self) -> None:
        """Kill it; a second time does nothing."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        self._spawn()  # at once: a start that is cancelled leaves nothing behind
        try:
            await asyncio.to_thread(self._listen)
        except BaseException:
            self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def calls(self, verb: str | None = None) -> list[dict[str, Any]]:
        """The calls it got, oldest first: method, verb, key, generation, outcome."""
        calls: list[dict[str, Any]] = (await self.request("GET", "/calls")).json()["calls"]
        return [call for call in calls if verb in (None, call["verb"])]

    async def meetings(self) -> list[dict[str, Any]]:
        """The meetings that exist now."""
        meetings: list[dict[str, Any]] = (await self.request("GET", "/meetings")).json()["meetings"]
        return meetings

    async def faults(
        self,
        *,
        delay: float = 0.0,
        hold: bool = False,
        lose_answers: int = 0,
        fail: list[dict[str, Any]] | None = None,
        only: str | None = None,
        forgetful: bool = False,
        older: float = 0.0,
    ) -> None:
        """Replace what goes wrong from now on; without arguments nothing does."""
        wanted = {"delay": delay, "hold": hold, "lose_answers": lose_answers, "fail": fail or [], "only": only}
        wanted |= {"forgetful": forgetful, "older": older}
        (await self.request("PUT", "/faults", json=wanted)).raise_for_status()

    async def reset(self) -> None:
        """Forget meetings, faults and calls."""
        (await self.request("POST", "/reset")).raise_for_status()

    async def request(
        self, method: str, path: str, *, json: Any = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Any call, with the token unless `headers` say otherwise; `path` may be a whole URL."""
        if headers is None:
            headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=30.0, verify=NO_TLS) as client:
            return await client.request(method, path, json=json, headers=headers)


class Misbehaviour(Enum):
    """What a `RawServer` can do other than answer."""

    HANG = "read the request, never answer"
    DROP = "read the request, then close the connection"
    DROP_UNREAD = "close the connection at once"


Reply = bytes | Misbehaviour


class RawServer:
    """Answers the first request with the first reply, and so on; the last reply holds for all that follow."""

    def __init__(self, *replies: Reply) -> None:
        self.url = ""
        self.connections = 0
        self.requests: list[bytes] = []
        self.arrived = asyncio.Event()
        self._replies = list(replies)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def say(self, *replies: Reply) -> None:
        """Other replies from now on, such as those that name its own address."""
        self._replies = list(replies)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server
        await closed(self._server)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self.connections += 1
        try:
            await self._answer(reader, writer)
        except asyncio.CancelledError:
            # Swallowed, because the stream's own callback would report it as an unhandled error.
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        if reply is Misbehaviour.DROP_UNREAD:
            return
        self.requests.append(await message(reader))
        self.arrived.set()
        if reply is Misbehaviour.HANG:
            await asyncio.Event().wait()
        elif isinstance(reply, bytes):
            writer.write(reply)
            with suppress(ConnectionError):
                await writer.drain()


async def message(reader: asyncio.StreamReader) -> bytes:
    """One whole request or answer with a Content-Length."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.split(b":")[1]))
    return head


def http(status: int, body: bytes | str = b"{}", **headers: str) -> bytes:
    """The bytes of one HTTP/1.1 answer; in header names `_` stands for `-`."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(content)}", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content
