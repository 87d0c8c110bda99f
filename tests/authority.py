"""An OAuth server that is not ours as a process of its own, and a person who signs in there without a browser."""

import asyncio
import json
import re
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin

import httpx

from tests.ports import NO_TLS
from tests.tools import absent, need

CLIENT, SECRET = "acme-client", "acme-client-secret-0123456789"
NODE = 20
"""The oldest major version of Node that the server runs on."""
_FOLDER = Path(__file__).parent / "oidc"
NODE_MODULES = _FOLDER / "node_modules"
"""What `npm ci` installs there."""


class Authority:
    """npm's `oidc-provider` with rotating refresh tokens; `life` of its access tokens in seconds."""

    def __init__(self, redirect_uri: str, *, life: int = 3600, meetings_url: str = "http://127.0.0.1:1") -> None:
        given = {"client_id": CLIENT, "client_secret": SECRET, "redirect_uri": redirect_uri}
        self._given = json.dumps({**given, "life": life, "meetings_url": meetings_url})
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    @property
    def environment(self) -> dict[str, str]:
        """What a service must know to use it."""
        client = {"ZOOM_CLIENT_ID": CLIENT, "ZOOM_CLIENT_SECRET": SECRET}
        return {**client, "ZOOM_OAUTH_URL": f"{self.url}/oauth", "ZOOM_API_URL": f"{self.url}/v2"}

    def _start(self) -> None:
        node = need("node")
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
        if int(version.lstrip("v").split(".")[0]) < NODE:
            absent(f"Node {NODE} or newer")
        if not (_FOLDER / "node_modules").is_dir():
            absent("what `npm ci` installs in tests/oidc")
        command = [node, "server.mjs", self._given]
        self._process = subprocess.Popen(
            command, cwd=_FOLDER, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("http://"):
                self.url = line.strip()
                return
        raise AssertionError("the OAuth server did not start")

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process:
            self._process.kill()
            await asyncio.to_thread(self._process.communicate)

    async def log(self, asked: str = "refresh_token") -> list[dict[str, Any]]:
        """What its token endpoint was asked, oldest first: with which refresh token, and what it answered."""
        async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=30) as client:
            log: list[dict[str, Any]] = (await client.get(f"{self.url}/log")).json()
        return [line for line in log if line["asked"] == asked]


async def signed_in(url: str, login: str, *, agree: bool = True) -> str:
    """Follow an authorization request as a person would; answers where the vendor sends the browser back to."""
    origin = str(httpx.URL(url).copy_with(path="/", query=None))
    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=20) as person:
        answer = await person.get(url)
        for _ in range(12):
            if answer.is_redirect:
                where = urljoin(str(answer.url), answer.headers["location"])
                if not where.startswith(origin):
                    return where
                answer = await person.get(where)
                continue
            action = re.search(r'action="([^"]+)"', answer.text)
            assert action, answer.text
            form = {"do": "login", "login": login} if "Sign in" in answer.text else {"do": "allow" if agree else "deny"}
            answer = await person.post(urljoin(origin, action[1]), data=form)
    raise AssertionError("the person was sent around in circles")
