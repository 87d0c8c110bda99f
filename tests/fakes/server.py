"""A fake vendor as a process of its own, as tests hold it."""

import asyncio
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.ports import NO_TLS

ROOT = Path(__file__).parent.parent.parent


class FakeServer:
    """Use it as a context manager, plain or async, or with `start` and `stop`. `stop` kills it."""

    module: str

    def __init__(self) -> None:
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        """Start it on a free port and come back when it takes calls."""
        command = [sys.executable, "-m", self.module, "--port", "0"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self._process.stdout
        self.url = self._process.stdout.readline().strip()
        assert self.url, f"{self.module} did not start"
        return self

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
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Any call; `path` may be a whole URL."""
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=30.0, verify=NO_TLS) as client:
            return await client.request(method, path, **more)

    async def control(self, method: str, path: str, fields: Any = None) -> Any:
        """Steer it: `path` is below /fake."""
        answer = await self.request(method, f"/fake/{path}", json=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def state(self) -> dict[str, Any]:
        """Everything it knows."""
        state: dict[str, Any] = await self.control("GET", "state")
        return state

    async def reset(self) -> None:
        """Begin anew."""
        await self.control("POST", "reset")

    async def faults(self, **faults: Any) -> None:
        """Replace what goes wrong from now on; without arguments nothing does."""
        await self.control("PUT", "faults", faults)

    async def user(self, email: str = "anna@example.org", **changes: Any) -> dict[str, Any]:
        """Change a user, or make one."""
        user: dict[str, Any] = await self.control("PUT", "users", {"email": email, **changes})
        return user

    async def calls(self, *verbs: str) -> list[dict[str, Any]]:
        """The calls it got, oldest first, of these verbs or of all."""
        return [call for call in (await self.state())["calls"] if not verbs or call["verb"] in verbs]
