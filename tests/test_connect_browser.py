"""An admin with a browser, from the first click to a connected account, at a vendor on another site."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Page

from tests.acme import ACME
from tests.authority import Authority
from tests.browsing import browser, listening, log_in, served


@asynccontextmanager
async def at_acme(store_url: str) -> AsyncIterator[tuple[str, Authority]]:
    """A service and a vendor on another site."""
    async with (
        listening() as (listener, public),
        Authority(f"{public}/connect/zoom/callback") as authority,
        served(listener, public, store_url, providers={"zoom": ACME}, **authority.environment),
    ):
        yield public, authority


async def log_in_and_go(page: Page, public: str) -> None:
    """From the address to the vendor's login."""
    await log_in(page, public, "/connect/zoom")
    await page.get_by_role("link", name="Continue to Acme").click()
    await page.locator("input[name=login]").fill("anna")
    await page.get_by_role("button", name="Sign in").click()


@pytest.mark.timeout(300)
async def test_a_person_clicks_from_the_address_to_connected(store_url: str, tmp_path: Path) -> None:
    async with at_acme(store_url) as (public, _), browser(tmp_path) as (page, complaints):
        await log_in_and_go(page, public)
        await page.get_by_role("button", name="Allow").click()
        await page.get_by_role("heading", name="Acme is connected").wait_for()
        assert "anna@example.org is connected" in await page.inner_text("main")
        await page.reload()
        assert "anna@example.org is connected" in await page.inner_text("main")
        assert [line for line in complaints if "Content Security Policy" in line] == []


@pytest.mark.timeout(300)
async def test_a_person_who_does_not_agree_can_start_again(store_url: str, tmp_path: Path) -> None:
    async with at_acme(store_url) as (public, _), browser(tmp_path) as (page, _):
        await log_in_and_go(page, public)
        await page.get_by_role("button", name="Deny").click()
        await page.get_by_role("heading", name="Access was denied").wait_for()
        await page.get_by_role("link", name="Start again").click()
        await page.get_by_role("link", name="Continue to Acme").wait_for()
