"""The service as processes of their own, and a store that lets a test end them at any of their steps."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from service.vello import sign
from tests.events import body
from tests.ports import NO_TLS, free_port
from tests.waiting import closed, wait_until

TOKEN, ADMIN = "webhook-token", "admin-token-0123456789"
KEYS = "k1:" + "A" * 43 + "="


class Service:
    """`vello-meetings serve` as a subprocess; `kill` is kill -9."""

    def __init__(
        self, *arguments: str, log: Path | None = None, python: str = sys.executable, **environment: str
    ) -> None:
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.endpoint = f"{self.base}/webhooks/vello"
        self._arguments = arguments
        self._log = log
        self._python = python
        given = {"PUBLIC_URL": self.base, "VELLO_WEBHOOK_TOKEN": TOKEN, "ADMIN_TOKEN": ADMIN, "SECRET_KEYS": KEYS}
        self.environment = {"PATH": os.environ["PATH"], **given, **environment}
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> Self:
        """Start it and come back when it is ready."""
        command = [self._python, "-P", "-m", "service", "serve", "--port", str(self.port), *self._arguments]
        self.process = self._spawn(command)  # at once: a start that is cancelled leaves nothing behind
        await wait_until(self._ready, 60)
        return self

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self._log or Path(os.devnull)).open("ab") as log:
            return subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    async def _ready(self) -> bool:
        assert self.process
        assert self.process.poll() is None, f"the service ended with {self.process.returncode}"
        with suppress(httpx.HTTPError):
            return (await self.request("GET", "/readyz")).status_code == 200
        return False

    @property
    def pid(self) -> int:
        """The process that runs."""
        assert self.process
        return self.process.pid

    def kill(self) -> None:
        """End it without warning; a second time does nothing."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        if self.process:
            self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; answers the exit code."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 30)

    async def __aenter__(self) -> Self:
        try:
            return await self.start()
        except BaseException:
            self.kill()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Any call to it."""
        async with httpx.AsyncClient(base_url=self.base, trust_env=False, timeout=30, verify=NO_TLS) as client:
            return await client.request(method, path, **options)

    as_admin = MappingProxyType({"Authorization": f"Bearer {ADMIN}"})

    async def admin(self, method: str, path: str, *, json: Any = None) -> httpx.Response:
        """A call to its API."""
        return await self.request(method, f"/api/v1{path}", json=json, headers=self.as_admin)

    async def say(self, event_type: str, data: Mapping[str, Any]) -> httpx.Response:
        """A signed event."""
        raw = body(event_type, data)
        headers = {"Vello-Signature": sign(TOKEN, self.endpoint, raw)}
        return await self.request("POST", "/webhooks/vello", content=raw, headers=headers)

    async def connect(self, url: str) -> None:
        """Choose a reference meeting server for every office."""
        made = await self.admin("POST", "/connections", json={"provider": "memory", "url": url})
        choice = {"connection": made.json()["id"], "link": "hosted"}
        assert (await self.admin("PUT", "/offices/default", json=choice)).status_code == 200

    async def settled(self, record: str, timeout: float = 60.0) -> dict[str, Any]:  # noqa: ASYNC109 (fails the test)
        """A record once nothing is pending any more."""
        seen: dict[str, Any] = {}

        async def done() -> bool:
            answer = await self.admin("GET", f"/records/{record}")
            if answer.status_code == 503:  # the store was away, or the machine stood still: look again
                return False
            assert answer.status_code == 200, answer.text
            seen.update(answer.json())
            return bool(seen["state"] != "pending")

        await wait_until(done, timeout)
        return seen


class Tripwire:
    """A port before a real store that ends a process at its n-th command, before or after the store had it."""

    def __init__(self, store_url: str) -> None:
        self._path = urlsplit(store_url).path
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._victim: Service | None = None
        self._left = 0
        self._after = False
        self.tripped = False
        self.url = ""

    def arm(self, victim: Service, step: int, *, after: bool) -> None:
        """From now on the `step`-th command ends `victim`: before it reaches the store, or before its answer does."""
        self._victim, self._left, self._after, self.tripped = victim, step, after, False

    def disarm(self) -> None:
        """Let everything through."""
        self._victim = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server
        await closed(self._server)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            store_reader, store_writer = await asyncio.open_unix_connection(self._path)
        except (OSError, asyncio.CancelledError):
            self._tasks.discard(task)
            writer.close()
            return
        answers = asyncio.create_task(self._answers(store_reader, writer))
        try:
            while data := await reader.read(1 << 20):
                if self._trips():
                    if self._after:
                        answers.cancel()
                        await asyncio.gather(answers, return_exceptions=True)
                        store_writer.write(data)
                        await store_writer.drain()
                        await store_reader.read(1 << 20)
                    self._victim_ends()
                    break
                store_writer.write(data)
                await store_writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            answers.cancel()
            store_writer.close()
            writer.close()  # before anything is waited for: the wait may be stopped
            self._tasks.discard(task)
            for each in (store_writer, writer):
                with suppress(OSError):
                    await each.wait_closed()

    async def _answers(self, store: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await store.read(1 << 20):
                writer.write(data)
                await writer.drain()

    def _trips(self) -> bool:
        if self._victim is None:
            return False
        self._left -= 1
        return self._left == 0

    def _victim_ends(self) -> None:
        assert self._victim
        self._victim.kill()
        self._victim, self.tripped = None, True
