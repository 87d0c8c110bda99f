"""An admin with a browser, from the first click to a connected account, at a vendor on another site."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from playwright.async_api import Page, async_playwright

from service.app import opened
from service.config import Config
from tests.acme import ACME
from tests.authority import Authority
from tests.processes import ADMIN, KEYS, TOKEN
from tests.tools import need


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are pytest's."""
        yield


@asynccontextmanager
async def served(store_url: str) -> AsyncIterator[tuple[str, Authority]]:
    """A service at localhost and a vendor at 127.0.0.1, which browsers take for different sites."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        public = f"http://localhost:{listener.getsockname()[1]}"
        async with Authority(f"{public}/connect/zoom/callback") as authority:
            given = {"PUBLIC_URL": public, "REDIS_URL": store_url, "SECRET_KEYS": KEYS, "VELLO_WEBHOOK_TOKEN": TOKEN}
            config = Config.load(environ={**given, "ADMIN_TOKEN": ADMIN, **authority.environment})
            async with opened(config, "web", providers={"zoom": ACME}) as app:
                server = _Server(uvicorn.Config(app, lifespan="off", log_config=None))
                serving = asyncio.create_task(server.serve([listener]))
                yield public, authority
                server.should_exit = True
                await serving


@asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[tuple[Page, list[str]]]:
    """A page of a fresh browser, and what it complained of: a policy of ours that stops a click is a complaint."""
    complaints: list[str] = []
    async with async_playwright() as driver:
        chromium = await driver.chromium.launch_persistent_context(
            profile, executable_path=need("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = await chromium.new_page()
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        yield page, complaints
        await chromium.close()


async def log_in_and_go(page: Page, public: str) -> None:
    """From the address to the vendor's login."""
    await page.goto(f"{public}/connect/zoom")
    await page.get_by_label("Admin token").fill(ADMIN)
    await page.get_by_role("button", name="Log in", exact=True).click()
    await page.get_by_role("link", name="Continue to Acme").click()
    await page.locator("input[name=login]").fill("anna")
    await page.get_by_role("button", name="Sign in").click()


@pytest.mark.timeout(180)
async def test_a_person_clicks_from_the_address_to_connected(store_url: str, tmp_path: Path) -> None:
    async with served(store_url) as (public, _), browser(tmp_path) as (page, complaints):
        await log_in_and_go(page, public)
        await page.get_by_role("button", name="Allow").click()
        await page.get_by_role("heading", name="Acme is connected").wait_for()
        assert "anna@example.org is connected" in await page.inner_text("main")
        await page.reload()
        assert "anna@example.org is connected" in await page.inner_text("main")
        assert [line for line in complaints if "Content Security Policy" in line] == []


@pytest.mark.timeout(180)
async def test_a_person_who_does_not_agree_can_start_again(store_url: str, tmp_path: Path) -> None:
    async with served(store_url) as (public, _), browser(tmp_path) as (page, _):
        await log_in_and_go(page, public)
        await page.get_by_role("button", name="Deny").click()
        await page.get_by_role("heading", name="Access was denied").wait_for()
        await page.get_by_role("link", name="Start again").click()
        await page.get_by_role("link", name="Continue to Acme").wait_for()
