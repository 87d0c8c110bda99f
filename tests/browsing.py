"""The service at localhost for a browser, and a page of a fresh one; vendors at 127.0.0.1 are another site to it."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import uvicorn
from playwright.async_api import BrowserContext, Page, async_playwright, expect

from providers.base import ProviderInfo
from service.app import opened
from service.config import Config
from tests.authority import NODE_MODULES
from tests.processes import ADMIN, KEYS, TOKEN
from tests.tools import absent, need

expect.set_options(timeout=30_000)
Scheme = Literal["light", "dark"]
ELSEWHERE = "meetings.example"
"""A name under which browsers reach this machine and take it for another: over plain HTTP they trust it less."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are pytest's."""
        yield


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[socket.socket, str]]:
    """A port, and the address under which browsers reach it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, f"http://localhost:{listener.getsockname()[1]}"


@asynccontextmanager
async def served(
    listener: socket.socket,
    public: str,
    store_url: str,
    *,
    providers: Mapping[str, ProviderInfo] | None = None,
    **environment: str,
) -> AsyncIterator[None]:
    """A service on a store, until left."""
    given = {"PUBLIC_URL": public, "REDIS_URL": store_url, "SECRET_KEYS": KEYS, "VELLO_WEBHOOK_TOKEN": TOKEN}
    config = Config.load(environ={**given, "ADMIN_TOKEN": ADMIN, "ANSWER_DEADLINE": "30", **environment})
    async with opened(config, providers=providers) as app:
        server = _Server(uvicorn.Config(app, lifespan="off", log_config=None))
        serving = asyncio.create_task(server.serve([listener]))
        yield
        server.should_exit = True
        await serving


@asynccontextmanager
async def browsers(
    profile: Path, scheme: Scheme = "light", *, javascript: bool = True, zone: str | None = None
) -> AsyncIterator[BrowserContext]:
    """A fresh browser, of somebody in this time zone."""
    async with async_playwright() as driver:
        chromium = await driver.chromium.launch_persistent_context(
            profile,
            executable_path=need("chromium"),
            args=["--no-sandbox", "--disable-dev-shm-usage", f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1"],
            color_scheme=scheme,
            locale="en-GB",
            java_script_enabled=javascript,
            timezone_id=zone,
        )
        yield chromium
        await chromium.close()


@asynccontextmanager
async def browser(profile: Path, scheme: Scheme = "light") -> AsyncIterator[tuple[Page, list[str]]]:
    """A page of a fresh browser, and what it complained of: a policy of ours that stops a click is a complaint."""
    complaints: list[str] = []
    async with browsers(profile, scheme) as chromium:
        page = await chromium.new_page()
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page, complaints


async def log_in(page: Page, public: str, there: str = "/") -> None:
    """With the token, to a page."""
    await page.goto(f"{public}{there}")
    await page.get_by_label("Admin token").fill(ADMIN)
    await page.get_by_role("button", name="Log in", exact=True).click()
    await page.wait_for_url(f"{public}{there}")


async def violations(page: Page) -> list[Any]:
    """What axe-core finds wrong with a page as it stands."""
    script = NODE_MODULES / "axe-core" / "axe.min.js"
    if not script.is_file():
        absent("what `npm ci` installs in tests/oidc")
    # Evaluated, not added as a script: the page's own policy would refuse it, and must go on doing so.
    if await page.evaluate("typeof axe") == "undefined":
        await page.evaluate(script.read_text())
    found = await page.evaluate("axe.run({resultTypes: ['violations']})")
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]]


async def pictured(page: Page, name: str) -> None:
    """A picture of a page at both widths, where SCREENSHOTS names a folder."""
    folder = os.environ.get("SCREENSHOTS")
    if not folder:
        return
    for width in (1280, 375):
        await page.set_viewport_size({"width": width, "height": 900})
        await page.screenshot(path=Path(folder) / f"{name}-{width}.png", full_page=True)
